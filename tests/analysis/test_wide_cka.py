"""CKA over pairs of batches: that of all features at once, whatever the batches."""

import pytest
import torch

from limbeck.analysis import linear_cka, wide_cka
from limbeck.errors import LimbeckError


def drawn(n, p, seed=0, shift=0.0):
    return shift + torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(layers, batch):
    parts = [[layer[start : start + batch] for layer in layers] for start in range(0, len(layers[0]), batch)]
    return wide_cka(len(parts), lambda i: parts[i])


@pytest.mark.parametrize("batch", [1, 3, 7, 20, 64])
def test_every_batch_size_gives_what_all_features_at_once_give(batch):
    layers = [drawn(20, 4, shift=3.0), drawn(20, 300, seed=1), drawn(20, 50, seed=2)]
    layers[1][:, :4] += 3 * layers[0]
    layers[2][:, 0] = layers[1][:, 5].relu()
    found = alike(layers, batch)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers):
            assert float(found.cka[i, j]) == pytest.approx(float(linear_cka(x, y)), rel=1e-9)
    assert found.cka.dtype == torch.float64


def test_nothing_is_cut_off():
    values = torch.stack([alike([drawn(8, 900, s), drawn(8, 900, s + 50)], 3).cka[0, 1] for s in range(8)])
    assert values.min() < 0


def test_float32_features_are_summed_in_float64():
    x, y = drawn(30, 200).float(), drawn(30, 100, seed=1).float()
    assert float(alike([x, y], 8).cka[0, 1]) == pytest.approx(float(linear_cka(x, y)), rel=1e-10)


def test_what_is_undefined_says_why():
    constant, equidistant = torch.full((6, 9), 0.1), torch.eye(6)
    broken = drawn(6, 4)
    broken[3, 2] = float("inf")
    found = alike([drawn(6, 3), constant.double(), equidistant.double(), broken], 4)
    assert found.cka[0, 0] == pytest.approx(1)
    assert found.cka[1:].isnan().all()
    assert found.cka[0, 1:].isnan().all()
    assert found.size[1] == 0
    assert found.size[2] > 0
    assert not found.size[3].isfinite()


def test_a_batch_is_asked_for_once_and_again_for_each_after_it():
    layers, asked = drawn(12, 5), []

    def features(i):
        asked.append(i)
        return [layers[3 * i : 3 * i + 3]]

    wide_cka(4, features)
    assert [asked.count(i) for i in range(4)] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "there is no batch"),
        ([[drawn(2, 3)], [drawn(1, 3)]], "the unbiased CKA needs at least 4 examples, here are 3"),
        ([[drawn(4, 3)], [drawn(4, 2)]], r"batch 1 has layers of \[2\] features, but the first one had \[3\]"),
        ([[drawn(4, 3), drawn(5, 3)]], "of 4 and of 5 examples"),
        ([[drawn(4, 4).view(4, 2, 2)]], "flatten them"),
    ],
)
def test_what_cannot_be_compared_is_refused(parts, reason):
    with pytest.raises(LimbeckError, match=reason):
        wide_cka(len(parts), lambda i: parts[i])
