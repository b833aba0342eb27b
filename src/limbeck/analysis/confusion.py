"""Which classes a network takes for which."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64


class Confused(NamedTuple):
    """One kind of mistake.

    Attributes:
        truth: the class.
        said: the class that it was taken for.
        times: how often.
    """

    truth: int
    said: int
    times: int


def confusion(
    said: Int[np.ndarray, " examples"], labels: Int[np.ndarray, " examples"], classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """Return how often each class (row) was taken for each class (column).

    Args:
        said: the class that a network names, for each example.
        labels: the true class.
        classes: how many there are.
    """
    cells = np.bincount(labels.astype(np.int64) * classes + said, minlength=classes * classes)
    return cells.reshape(classes, classes)


def shares(matrix: Int64[np.ndarray, "classes classes"]) -> Float64[np.ndarray, "classes classes"]:
    """Return each count by the examples of its true class; NaN for a class without any."""
    of_class = matrix.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, of_class, out=np.full(matrix.shape, np.nan), where=of_class > 0))


def most_confused(matrix: Int64[np.ndarray, "classes classes"], count: int) -> list[Confused]:
    """Return the most frequent mistakes, the most frequent first; of equal ones, those of the lower true class.

    Args:
        matrix: of `confusion`.
        count: at most so many.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = zip(*(part.tolist() for part in np.unravel_index(order, wrong.shape)), strict=True)
    return [Confused(truth, said, int(wrong[truth, said])) for truth, said in pairs if wrong[truth, said]]
