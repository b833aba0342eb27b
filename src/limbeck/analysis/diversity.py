"""How differently classifiers err: the pairwise measures of Kuncheva & Whitaker (Machine Learning 51, 2003).

All are of the two-by-two table of a pair: both right (a), only the first (b), only the second (c), both wrong (d). The
less their errors go together, the more an ensemble of both can gain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from limbeck.errors import LimbeckError


class Table(NamedTuple):
    """How often two classifiers are right or wrong on the same examples, as shares of them that sum to 1.

    Attributes:
        both: both are right.
        first: only the first is.
        second: only the second is.
        neither: both are wrong.
    """

    both: float
    first: float
    second: float
    neither: float


class Diversity(NamedTuple):
    """The measures of a pair, or their means over pairs.

    Attributes:
        disagreement: `disagreement`.
        q_statistic: `q_statistic`.
        correlation: `correlation`.
        double_fault: `double_fault`.
    """

    disagreement: float
    q_statistic: float
    correlation: float
    double_fault: float


def right(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> Bool[np.ndarray, " examples"]:
    """Return whether each example's largest score is its label's; of equal scores the lower class counts."""
    found: Bool[np.ndarray, " examples"] = logits.argmax(1) == labels
    return found


def contingency(first: Bool[np.ndarray, " examples"], second: Bool[np.ndarray, " examples"]) -> Table:
    """Return the table of a pair.

    Args:
        first: whether the first classifier is right on each example.
        second: whether the second is.

    Raises:
        LimbeckError: there is no example.
    """
    if not len(first):
        raise LimbeckError("diversity needs at least one example")
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    return Table(*(float(cell.mean(dtype=np.float64)) for cell in cells))


def disagreement(table: Table) -> float:
    """Return the share of examples on which exactly one is right, in [0, 1]; more is more diverse (Skalak, 1996)."""
    return table.first + table.second


def double_fault(table: Table) -> float:
    """Return the share of examples on which both are wrong, in [0, 1] (Giacinto & Roli, 2001)."""
    return table.neither


def q_statistic(table: Table) -> float:
    """Return Yule's Q, (ad - bc) / (ad + bc), in [-1, 1]; NaN where neither product has anything in it.

    0 for independent errors, 1 where the errors of one are among those of the other.
    """
    together, apart = table.both * table.neither, table.first * table.second
    return (together - apart) / (together + apart) if together + apart > 0 else math.nan


def correlation(table: Table) -> float:
    """Return the correlation of being right, (ad - bc) / √((a+b)(c+d)(a+c)(b+d)); NaN where one never or always is."""
    a, b, c, d = table
    spread = (a + b) * (c + d) * (a + c) * (b + d)
    return (a * d - b * c) / math.sqrt(spread) if spread > 0 else math.nan


def diversity(first: Bool[np.ndarray, " examples"], second: Bool[np.ndarray, " examples"]) -> Diversity:
    """Return the measures of a pair, given where each is right."""
    table = contingency(first, second)
    return Diversity(disagreement(table), q_statistic(table), correlation(table), double_fault(table))


def pairwise(members: Sequence[Bool[np.ndarray, " examples"]]) -> dict[tuple[int, int], Diversity]:
    """Return the measures of every pair (i, j), i < j, of classifiers, given where each is right."""
    pairs = itertools.combinations(range(len(members)), 2)
    return {(i, j): diversity(members[i], members[j]) for i, j in pairs}


def mean(pairs: Sequence[Diversity]) -> Diversity:
    """Return each measure's mean over pairs, leaving out where it is NaN; NaN where nothing is left.

    Raises:
        LimbeckError: there is no pair.
    """
    if not pairs:
        raise LimbeckError("diversity is of pairs: give at least two classifiers")
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*pairs, strict=True)]
    return Diversity(*(math.fsum(column) / len(column) if column else math.nan for column in columns))
