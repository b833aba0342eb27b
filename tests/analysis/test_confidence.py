"""Which images the confidence page shows, and in which order."""

import numpy as np
import pytest

from limbeck.analysis.confidence import both_wrong, most_uncertain, probabilities, top


def sure(*rows):
    """Return probabilities of three classes from (class, its probability); the others share the rest."""
    found = np.array([[(1 - p) / 2] * 3 for _, p in rows])
    for i, (k, p) in enumerate(rows):
        found[i, k] = p
    return found


def test_errors_of_both_come_the_surest_first_and_in_order_among_equals():
    labels = np.array([0, 0, 0, 0, 0, 0])
    first = sure((1, 0.6), (1, 0.9), (0, 0.99), (2, 0.6), (1, 0.8), (1, 0.9))
    second = sure((1, 0.6), (0, 0.9), (1, 0.99), (1, 0.6), (2, 0.9), (1, 0.7))
    assert both_wrong(first, second, labels, 9).tolist() == [4, 5, 0, 3]
    assert both_wrong(first, second, labels, 2).tolist() == [4, 5]
    assert both_wrong(first, second, np.array([1, 1, 0, 2, 1, 1]), 9).tolist() == []


def test_the_highest_entropy_comes_first_and_a_zero_is_no_number_to_fear():
    probs = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.5, 0.5], [0.9, 0.05, 0.05]])
    assert most_uncertain(probs, 9).tolist() == [2, 1, 3, 4, 0]
    assert most_uncertain(probs, 1).tolist() == [2]


def test_the_top_classes_are_in_order_the_lower_first_among_equals():
    assert top(np.array([0.2, 0.3, 0.2, 0.3]), 3).tolist() == [1, 3, 0]
    assert top(np.array([0.2, 0.8]), 5).tolist() == [1, 0]


def test_probabilities_of_extreme_logits():
    found = probabilities(np.array([[1e4, 0.0], [-3e38, 3e38], [0.0, 0.0]], dtype=np.float32))
    assert found.tolist() == pytest.approx(np.array([[1, 0], [0, 1], [0.5, 0.5]]))
    assert found.dtype == np.float64
