"""Which boxes of a network are right, which true ones it misses, and in which pictures it errs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from limbeck.core.boxes import Found, Truth

OVERLAP = 0.5


class Compared(NamedTuple):
    """Boxes that were found beside those that are there.

    Attributes:
        right: which found box takes a true one, bool [D].
        spared: which lies in an ignored box, and is neither right nor wrong, bool [D].
        missed: which true box no found one takes, bool [M]; never one that is ignored.
    """

    right: Bool[np.ndarray, " found"]
    spared: Bool[np.ndarray, " found"]
    missed: Bool[np.ndarray, " boxes"]

    @property
    def wrong(self) -> Bool[np.ndarray, " found"]:
        """Which found box is neither."""
        neither: Bool[np.ndarray, " found"] = ~(self.right | self.spared)
        return neither


def compared(found: Found, truth: Truth) -> Compared:
    """Match boxes as `limbeck.metrics.detection` does: by score, each takes the free box that it overlaps most.

    Args:
        found: what a network says; boxes of a low score are to be left out before.
        truth: what is in the pictures.
    """
    rows, columns = _pairs(found, truth)
    shares = _overlaps(found, truth, rows, columns)
    near = shares >= OVERLAP
    rows, columns, shares = rows[near], columns[near], shares[near]
    right, taken = np.zeros(len(found.scores), bool), np.zeros(len(truth.classes), bool)
    free = ~truth.ignored
    for at in np.lexsort((-shares, rows, -found.scores[rows])).tolist():
        one, box = rows[at], columns[at]
        if free[box] and not right[one] and not taken[box]:
            right[one] = taken[box] = True
    inside = np.zeros_like(right)
    inside[rows[truth.ignored[columns]]] = True
    return Compared(right, inside & ~right, free & ~taken)


class Counts(NamedTuple):
    """How many boxes of each picture, in the order of `Truth.ids`, int64 [P] each.

    Attributes:
        right: found and there.
        wrong: found and not there.
        missed: there and not found.
    """

    right: Int64[np.ndarray, " pictures"]
    wrong: Int64[np.ndarray, " pictures"]
    missed: Int64[np.ndarray, " pictures"]

    @property
    def mistakes(self) -> Int64[np.ndarray, " pictures"]:
        """Wrong and missed ones together."""
        both: Int64[np.ndarray, " pictures"] = self.wrong + self.missed
        return both


def counts(found: Found, truth: Truth, of: Compared) -> Counts:
    """Count what `compared` returned, picture by picture."""

    def count(pictures: Int64[np.ndarray, " chosen"]) -> Int64[np.ndarray, " pictures"]:
        at: Int64[np.ndarray, " chosen"] = np.searchsorted(truth.ids, pictures)
        number: Int64[np.ndarray, " pictures"] = np.bincount(at, minlength=len(truth.ids))
        return number

    return Counts(count(found.pictures[of.right]), count(found.pictures[of.wrong]), count(truth.pictures[of.missed]))


def _pairs(found: Found, truth: Truth) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Return the places of found and of true boxes that have a picture and a class in common."""
    classes = 1 + max([*found.classes.tolist(), *truth.classes.tolist()], default=0)
    wanted, there = (one.pictures * classes + one.classes for one in (found, truth))
    order = np.argsort(there, kind="stable")
    first, last = (np.searchsorted(there[order], wanted, side) for side in ("left", "right"))
    many = last - first
    rows = np.repeat(np.arange(len(wanted)), many)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
    return rows, order[np.repeat(first, many) + within]


def _overlaps(
    found: Found, truth: Truth, rows: Int64[np.ndarray, " pairs"], columns: Int64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, " pairs"]:
    """Return the intersection over the union, or over the found box's own area where the true one is ignored."""
    one, other = found.boxes[rows].astype(np.float64), truth.boxes[columns].astype(np.float64)
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = sides.clip(0).prod(axis=1)
    own, its = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other))
    whole = np.where(truth.ignored[columns], own, own + its - shared)
    shares: Float64[np.ndarray, " pairs"] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return shares
