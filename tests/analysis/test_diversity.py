"""Diversity of errors against plain counting."""

import math

import numpy as np
import pytest

from limbeck.analysis.diversity import (
    Diversity,
    Table,
    contingency,
    correlation,
    disagreement,
    diversity,
    double_fault,
    mean,
    pairwise,
    q_statistic,
    right,
)
from limbeck.errors import LimbeckError


def naive(first, second):
    a = b = c = d = 0
    for one, other in zip(first, second, strict=True):
        if one and other:
            a += 1
        elif one:
            b += 1
        elif other:
            c += 1
        else:
            d += 1
    n = a + b + c + d
    q = (a * d - b * c) / (a * d + b * c) if a * d + b * c else math.nan
    spread = (a + b) * (c + d) * (a + c) * (b + d)
    rho = (a * d - b * c) / math.sqrt(spread) if spread else math.nan
    return (b + c) / n, q, rho, d / n


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.7), (0.99, 0.02), (1.0, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize("examples", [1, 7, 400])
def test_the_measures_are_what_counting_gives(shares, examples):
    generator = np.random.default_rng(examples)
    first, second = (generator.random(examples) < share for share in shares)
    assert diversity(first, second) == pytest.approx(naive(first, second), nan_ok=True)


def test_the_correlation_is_that_of_numpy():
    generator = np.random.default_rng(1)
    first = generator.random(500) < 0.8
    second = np.where(generator.random(500) < 0.6, first, generator.random(500) < 0.5)
    assert correlation(contingency(first, second)) == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_limits():
    one = np.array([True, True, False, False])
    same, opposite = contingency(one, one), contingency(one, ~one)
    assert (disagreement(same), q_statistic(same), correlation(same), double_fault(same)) == (0, 1, 1, 0.5)
    assert (disagreement(opposite), q_statistic(opposite), correlation(opposite), double_fault(opposite)) == (
        1, -1, -1, 0,
    )  # fmt: skip
    independent = Table(0.81, 0.09, 0.09, 0.01)
    assert q_statistic(independent) == pytest.approx(0)
    assert correlation(independent) == pytest.approx(0, abs=1e-12)
    never = contingency(one, np.zeros(4, dtype=bool))
    assert math.isnan(correlation(never))
    assert math.isnan(q_statistic(never))


def test_all_pairs_and_their_mean():
    generator = np.random.default_rng(2)
    members = [generator.random(50) < 0.7 for _ in range(3)]
    found = pairwise(members)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    assert found[0, 2] == diversity(members[0], members[2])
    average = mean(list(found.values()))
    assert average.double_fault == pytest.approx(np.mean([one.double_fault for one in found.values()]))
    half = mean([Diversity(0.1, math.nan, math.nan, 0.2), Diversity(0.3, 0.5, math.nan, 0.4)])
    assert half == pytest.approx((0.2, 0.5, math.nan, 0.3), nan_ok=True)


def test_who_is_right():
    logits = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]], dtype=np.float32)
    assert right(logits, np.array([1, 0, 1])).tolist() == [True, True, False]


def test_nothing_has_no_diversity():
    with pytest.raises(LimbeckError, match="at least one example"):
        contingency(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    with pytest.raises(LimbeckError, match="at least two classifiers"):
        mean([])
