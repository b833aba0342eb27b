"""Confusion matrices against a count by hand."""

import numpy as np

from limbeck.analysis.confusion import confusion, most_confused, shares

LABELS = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
SAID = np.array([0, 1, 1, 1, 0, 3, 0, 0, 1])


def test_it_is_a_count_of_pairs():
    expected = [[0] * 4 for _ in range(4)]
    for label, said in zip(LABELS.tolist(), SAID.tolist(), strict=True):
        expected[label][said] += 1
    assert confusion(SAID, LABELS, 4).tolist() == expected
    assert confusion(SAID.astype(np.int32), LABELS, 4).sum() == len(LABELS)


def test_shares_are_of_the_true_class_and_none_of_a_class_without_examples():
    found = shares(confusion(SAID, LABELS, 4))
    assert found[0].tolist() == [1 / 3, 2 / 3, 0, 0]
    assert found[3].tolist() == [0.5, 0.25, 0, 0.25]
    assert np.isnan(found[2]).all()


def test_the_most_frequent_mistakes_come_first():
    matrix = confusion(SAID, LABELS, 4)
    assert most_confused(matrix, 10) == [(0, 1, 2), (3, 0, 2), (1, 0, 1), (3, 1, 1)]
    assert most_confused(matrix, 1) == [(0, 1, 2)]
    assert most_confused(np.diag([3, 4]), 5) == []
    assert matrix[0, 0] == 1, "the matrix is left as it was"
