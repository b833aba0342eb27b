"""Softened predictions against uniform: plain loops from the definitions, limits, extremes."""

import math

import pytest
import torch

from limbeck.analysis import softening as module
from limbeck.analysis.softening import softening
from limbeck.errors import LimbeckError

TEMPERATURES = (0.5, 1.0, 3.0, 20.0)


def naive(rows, temperature):
    """Mean total variation, KL to uniform and entropy / log K of softmax(z / T)."""
    sums = [0.0, 0.0, 0.0]
    for row in rows:
        scaled = [z / temperature for z in row]
        powers = [math.exp(z - max(scaled)) for z in scaled]
        p = [power / math.fsum(powers) for power in powers]
        k = len(p)
        sums[0] += math.fsum(abs(x - 1 / k) for x in p) / 2
        sums[1] += math.fsum(x * math.log(x * k) for x in p if x > 0)
        sums[2] += -math.fsum(x * math.log(x) for x in p if x > 0) / math.log(k)
    return [total / len(rows) for total in sums]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_what_plain_loops_say(dtype, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 50)
    logits = (4 * torch.randn(37, 7, generator=torch.Generator().manual_seed(0))).to(dtype)
    found = softening(logits, TEMPERATURES)
    for i, temperature in enumerate(TEMPERATURES):
        expected = naive(logits.double().tolist(), temperature)
        assert [float(column[i]) for column in found] == pytest.approx(expected, rel=1e-10)


def test_extreme_logits_are_one_class_each():
    logits = torch.tensor([[1e4, -1e4, 0.0, 5.0], [0.0, 3e38, -3e38, 0.0]])
    found = softening(logits, [1.0, 64.0])
    assert found.total_variation.tolist() == pytest.approx([0.75, 0.75])
    assert found.divergence.tolist() == pytest.approx([math.log(4)] * 2)
    assert found.entropy.tolist() == pytest.approx([0, 0], abs=1e-12)


def test_a_growing_temperature_brings_any_network_to_uniform():
    logits = 5 * torch.randn(50, 10, generator=torch.Generator().manual_seed(1))
    found = softening(logits, [2.0**i for i in range(20)])
    assert (found.total_variation.diff() < 0).all()
    assert (found.divergence.diff() < 0).all()
    assert (found.entropy.diff() > 0).all()
    assert found.total_variation[-1] < 1e-4
    assert found.entropy[-1] == pytest.approx(1)
    same = softening(torch.full((3, 10), 7.0), [1.0])
    assert [float(column[0]) for column in same] == pytest.approx([0, 0, 1], abs=1e-15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: softening(torch.zeros(0, 3), [1.0]),
        lambda: softening(torch.zeros(4, 1), [1.0]),
    ],
)
def test_what_has_no_answer_is_refused(call):
    with pytest.raises(LimbeckError, match="at least two classes"):
        call()
