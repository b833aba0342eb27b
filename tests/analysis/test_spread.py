"""The spread of answers within a class: plain loops from the definition, its bounds, classes without images."""

import math

import numpy as np
import pytest

from limbeck.analysis.spread import class_spread


def naive(rows, labels):
    spreads = []
    for k in range(len(rows[0])):
        own = [row[k] for row, label in zip(rows, labels, strict=True) if label == k]
        mean = math.fsum(own) / len(own) if own else math.nan
        spreads.append(math.sqrt(math.fsum((p - mean) ** 2 for p in own) / len(own)) if own else math.nan)
    return spreads


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_what_plain_loops_say(dtype):
    generator = np.random.default_rng(0)
    rows = generator.dirichlet(np.full(5, 0.3), size=61).astype(dtype)
    labels = generator.integers(0, 4, size=61)
    found = class_spread(rows, labels)
    assert found.tolist() == pytest.approx(naive(rows.astype(float).tolist(), labels.tolist()), rel=1e-12, nan_ok=True)
    # nothing is of the last class
    assert np.isnan(found).tolist() == [False] * 4 + [True]


def test_its_bounds_and_that_a_small_one_keeps_its_digits():
    labels = np.array([0, 0, 1, 1])
    assert class_spread(np.array([[1, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]]), labels).tolist() == [0.5, 0]
    close = np.array([[1 - 1e-9, 1e-9], [1 - 3e-9, 3e-9], [0, 1], [0, 1]])
    assert class_spread(close, labels)[0] == pytest.approx(1e-9, rel=1e-6)
    # the other classes' probabilities do not matter
    thirds = np.array([[0.4, 0.6, 0.0], [0.4, 0.1, 0.5], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    assert class_spread(thirds, labels)[:2].tolist() == pytest.approx([0, 0])
