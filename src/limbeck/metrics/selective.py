"""Does confidence know where the errors are? Risk-coverage curve, AURC and E-AURC.

Answer only the i most confident examples: the coverage is i/n and the risk the fraction of errors among them.
AURC is the plain mean of the risks over i = 1..n (Geifman et al. 2019, as in PS-KD's released code). Examples
of **equal** confidence have no order, so the risk is its expected value over all their orders: in a group of
g members with e errors the first j hold j·e/g errors on average. The order of the input therefore never
matters; by a sort alone, 100 equal confidences with 50 errors give anything from 0.156 to 0.844.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from limbeck.errors import LimbeckError
from limbeck.metrics.inputs import Array, to_numpy


class RiskCoverage(NamedTuple):
    """The risk-coverage curve, from the most confident example alone to all of them.

    Attributes:
        coverages: i/n for i = 1..n, float64 [n].
        risks: expected fraction of errors among the i most confident, float64 [n].

    """

    coverages: Float64[np.ndarray, " examples"]
    risks: Float64[np.ndarray, " examples"]


def risk_coverage(confidence: Array, correct: Array) -> RiskCoverage:
    """Trace the curve for confidence [N] (any scale, larger is surer) and correct [N] (bool, or 0 and 1).

    Raises:
        LimbeckError: empty input, shapes that differ, NaN, a `correct` that is neither 0 nor 1.

    """
    risks = _risks(*_checked(confidence, correct))
    return RiskCoverage(np.arange(1, len(risks) + 1) / len(risks), risks)


def aurc(confidence: Array, correct: Array) -> float:
    """Return the mean risk over all coverages, in [0, 1]; arguments and errors as `risk_coverage`."""
    return float(_risks(*_checked(confidence, correct)).mean())


def eaurc(confidence: Array, correct: Array) -> float:
    """Return the excess AURC: `aurc` less that of the best order of the same answers, the right ones first.

    The optimum is the discrete one, (1/n) Σ_{i=1..r} i / (n - r + i) for r errors, not its limit
    R + (1-R)·ln(1-R). Arguments and errors as `risk_coverage`.
    """
    values, right = _checked(confidence, correct)
    wrong, examples = int((~right).sum()), len(right)
    step = np.arange(1, wrong + 1)
    return float(_risks(values, right).mean() - (step / (examples - wrong + step)).sum() / examples)


def _risks(
    confidence: Shaped[np.ndarray, " examples"], correct: Bool[np.ndarray, " examples"]
) -> Float64[np.ndarray, " examples"]:
    order = np.argsort(confidence)[::-1]
    ranked = confidence[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    sizes = np.diff(starts, append=len(ranked))
    errors = np.add.reduceat((~correct[order]).astype(np.int64), starts)
    before = np.cumsum(errors) - errors
    position = np.arange(1, len(ranked) + 1)
    inside = (position - np.repeat(starts, sizes)) * np.repeat(errors, sizes) / np.repeat(sizes, sizes)
    risks: Float64[np.ndarray, " examples"] = (np.repeat(before, sizes) + inside) / position
    return risks


def _checked(
    confidence: Array, correct: Array
) -> tuple[Shaped[np.ndarray, " examples"], Bool[np.ndarray, " examples"]]:
    values, right = to_numpy(confidence), to_numpy(correct)
    if values.ndim != 1 or values.shape != right.shape:
        raise LimbeckError(
            f"confidence has shape {list(values.shape)}, correct {list(right.shape)}: both must be [examples]"
        )
    if len(values) == 0:
        raise LimbeckError("confidence is empty: pass at least one example")
    unknown = np.isnan(values)
    if unknown.any():
        raise LimbeckError(f"confidence of row {int(unknown.argmax())} is NaN: it has no place in the order")
    neither = (right != 0) & (right != 1)
    if neither.any():
        row = int(neither.argmax())
        raise LimbeckError(f"correct of row {row} is {right[row]} but must be 1 (right) or 0 (wrong)")
    return values, right.astype(bool)
