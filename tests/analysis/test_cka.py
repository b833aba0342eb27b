"""CKA against plain loops, what was measured of it before, and what must not change it."""

import math

import pytest
import torch

from limbeck.analysis import LinearCKA, cka_matrix, linear_cka
from limbeck.errors import LimbeckError


def drawn(n, p, seed=0, shift=0.0):
    return shift + torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(rows):
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]


def naive_unbiased(k, l):  # noqa: E741
    """Song et al.'s estimator, sum by sum."""
    n = len(k)
    others = [(i, j) for i in range(n) for j in range(n) if i != j]
    trace = sum(k[i][j] * l[j][i] for i, j in others)
    ones = sum(k[i][j] for i, j in others) * sum(l[i][j] for i, j in others)
    between = sum(k[i][j] * l[j][m] for i, j in others for m in range(n) if m != j)
    return (trace + ones / ((n - 1) * (n - 2)) - 2 * between / (n - 2)) / (n * (n - 3))


def naive_biased(k, l):  # noqa: E741
    """tr(K H L H) with H = I - 1/n."""
    n = len(k)

    def centred(m):
        row = [sum(r) / n for r in m]
        whole = sum(row) / n
        return [[m[i][j] - row[i] - row[j] + whole for j in range(n)] for i in range(n)]

    k, l = centred(k), centred(l)  # noqa: E741
    return sum(k[i][j] * l[j][i] for i in range(n) for j in range(n))


def naive(x, y, unbiased=True):
    hsic = naive_unbiased if unbiased else naive_biased
    k, other = kernel(x.tolist()), kernel(y.tolist())
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


def streamed(x, y, batch, unbiased=True):
    found = LinearCKA(unbiased)
    for start in range(0, len(x), batch):
        found.update([x[start : start + batch]], [y[start : start + batch]])
    return float(found.matrix()[0, 0])


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("n", "p", "q"), [(12, 3, 5), (12, 30, 5), (4, 2, 3), (9, 20, 20)])
def test_both_ways_are_what_plain_loops_say(n, p, q, unbiased):
    x = drawn(n, p, shift=1.0)
    y = drawn(n, q, seed=1) + x[:, :1]
    expected = naive(x, y, unbiased)
    assert float(linear_cka(x, y, unbiased)) == pytest.approx(expected, rel=1e-9)
    assert streamed(x, y, 5, unbiased) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 32, 200, 512])
def test_every_batch_size_gives_the_same(batch, unbiased):
    x = drawn(200, 24, shift=5.0)
    y = (x @ drawn(24, 40, seed=1)).relu() + drawn(200, 40, seed=2)
    assert streamed(x, y, batch, unbiased) == pytest.approx(float(linear_cka(x, y, unbiased)), rel=1e-11)


# the biased values were measured on other draws; they spread by 0.001
@pytest.mark.parametrize(("n", "biased"), [(64, 0.969), (128, 0.939), (256, 0.890)])
def test_independent_features_have_nothing_in_common_but_the_biased_form_says_they_do(n, biased):
    x, y = drawn(n, 2048), drawn(n, 2048, seed=1)
    assert float(linear_cka(x, y)) == pytest.approx(0, abs=0.05)
    assert float(linear_cka(x, y, unbiased=False)) == pytest.approx(biased, abs=3e-3)
    values = [float(linear_cka(drawn(128, 2048, seed=s), drawn(128, 2048, seed=s + 50))) for s in range(5)]
    assert min(values) < 0, "negative values are never cut off"


def test_rotation_shift_and_scale_change_nothing_but_a_linear_map_does():
    x, y = drawn(60, 8), drawn(60, 6, seed=1)
    y[:, :3] += x[:, :3]
    q = torch.linalg.qr(drawn(8, 8, seed=2)).Q
    before = float(linear_cka(x, y))
    assert float(linear_cka(x @ q, y)) == pytest.approx(before, rel=1e-10)
    assert float(linear_cka(-7e4 * x, 1e-5 * y)) == pytest.approx(before, rel=1e-10)
    assert float(linear_cka(x + 1e3, y - 1e3)) == pytest.approx(before, rel=1e-9)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    assert float(linear_cka(x[order], y[order])) == pytest.approx(before, rel=1e-10)
    assert float(linear_cka(x * torch.tensor([50.0] + [1.0] * 7), y)) != pytest.approx(before, rel=1e-2)
    assert float(linear_cka(x, x @ q)) == pytest.approx(1, rel=1e-12)
    assert float(linear_cka(x, y)) == pytest.approx(float(linear_cka(y, x)), rel=1e-12)


def test_large_means_cost_no_digits_in_batches():
    x, y = drawn(100, 5), drawn(100, 4, seed=1)
    y[:, :2] += x[:, :2]
    assert streamed(x + 1e6, y + 1e6, 16) == pytest.approx(float(linear_cka(x, y)), rel=1e-7)


@pytest.mark.parametrize("n", [50, 8])
@pytest.mark.parametrize("own", [True, False])
def test_the_matrix_is_each_pair_by_itself(n, own):
    first = [drawn(n, p, seed=p) for p in (3, 12, 7)]
    second = None if own else [drawn(n, p, seed=20 + p) + first[0][:, :1] for p in (5, 9)]
    found = cka_matrix(first, second)
    sums = LinearCKA()
    for rows in torch.arange(n).split(6):
        sums.update([x[rows] for x in first], None if own else [y[rows] for y in second])
    for i, x in enumerate(first):
        for j, y in enumerate(second or first):
            assert float(found[i, j]) == pytest.approx(float(linear_cka(x, y)), rel=1e-9)
            assert float(sums.matrix()[i, j]) == pytest.approx(float(linear_cka(x, y)), rel=1e-9)
    assert found.shape == (3, len(second or first))
    if own:
        assert found.diagonal().tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("width", [3, 300])
@pytest.mark.parametrize("unbiased", [True, False])
def test_constant_features_give_nan_not_noise(width, unbiased):
    x, y = torch.full((20, width), 0.1, dtype=torch.float64), drawn(20, 5)
    assert linear_cka(x, y, unbiased).isnan()
    assert linear_cka(x, x, unbiased).isnan()


@pytest.mark.parametrize("width", [6, 7])
def test_where_all_examples_differ_alike_nothing_can_be_told(width):
    """Every two of these rows are equally far apart, so that the unbiased HSIC is 0 and its root means nothing."""
    x, y = torch.eye(6, width, dtype=torch.float64) + 0.3, drawn(6, 3)
    assert linear_cka(x, y).isnan()
    assert linear_cka(x, x).isnan()


def test_a_float32_layer_is_summed_in_float64():
    x, y = drawn(40, 6).float(), drawn(40, 5, seed=1).float()
    assert linear_cka(x, y).dtype == torch.float64
    assert float(linear_cka(x, y)) == pytest.approx(float(linear_cka(x.double(), y.double())), rel=1e-12)


def test_nothing_is_kept_for_a_gradient():
    x = drawn(10, 3).requires_grad_()
    assert not linear_cka(x, drawn(10, 3, seed=1)).requires_grad
    assert not linear_cka(x, drawn(10, 30, seed=1)).requires_grad


@pytest.mark.parametrize(
    ("x", "y", "unbiased", "reason"),
    [
        (drawn(3, 2), drawn(3, 2), True, "the unbiased CKA needs at least 4 examples, here are 3"),
        (drawn(3, 9), drawn(3, 2), True, "needs at least 4 examples"),
        (drawn(1, 2), drawn(1, 2), False, "the biased CKA needs at least 2"),
        (drawn(5, 2), drawn(6, 2), True, "of 5 and of 6 examples: compare them on the same ones"),
        (drawn(8, 4).reshape(8, 2, 2), drawn(8, 2), True, r"shape \[8, 2, 2\] but must be \[examples, features\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, unbiased, reason):
    with pytest.raises(LimbeckError, match=reason):
        linear_cka(x, y, unbiased)


def test_batches_of_other_layers_and_none_at_all_are_refused():
    sums = LinearCKA()
    with pytest.raises(LimbeckError, match="here are 0"):
        sums.matrix()
    sums.update([drawn(5, 3)])
    with pytest.raises(LimbeckError, match=r"layers of \[\[4\], \[\]\] features, but those before had \[\[3\], \[\]\]"):
        sums.update([drawn(5, 4)])
    with pytest.raises(LimbeckError, match="no layers to compare"):
        cka_matrix([])
