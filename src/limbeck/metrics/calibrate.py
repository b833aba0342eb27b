"""Temperature scaling (Guo et al. 2017): the one number that makes a trained network's confidence honest."""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq

from limbeck.metrics.inputs import Array, blocks

TEMPERATURES = (1e-3, 1e6)
"""The range of a fitted temperature: wide enough for logits of ±10,000, and an end for data that has none."""


def fit_temperature(logits: Array, labels: Array) -> float:
    """Find the T > 0 that minimises the mean NLL of softmax(logits / T).

    Give it validation data, never the test set.

    The NLL is convex in β = 1/T, so the minimum is where its slope, the mean of E_p[z] - z_label, changes
    sign; that root finds T far more exactly than comparing values of the NLL would.

    T is kept in `TEMPERATURES`: predictions that are all right want T → 0 and get the lower end, 0.001;
    predictions that no temperature makes better than uniform get the upper end, 1,000,000; logits that are
    equal within each row fit any T alike and get 1.

    Args:
        logits: finite numbers [N, K], not probabilities.
        labels: whole numbers [N] in 0..K-1.

    Raises:
        LimbeckError: empty input, shapes that do not fit, labels out of range, logits that are not finite.

    """
    low, high = (math.log(end) for end in TEMPERATURES)

    def slope(log_temperature: float) -> float:
        return _slope(logits, labels, math.exp(-log_temperature))

    sharpest, flattest = slope(low), slope(high)
    if sharpest == 0 and flattest == 0:
        return 1.0
    if sharpest <= 0:
        return TEMPERATURES[0]
    if flattest >= 0:
        return TEMPERATURES[1]
    return math.exp(brentq(slope, low, high, xtol=1e-10))


def _slope(logits: Array, labels: Array, beta: float) -> float:
    """Differentiate the mean NLL of softmax(β·logits) with respect to β; the slope never decreases in β."""
    total, examples = 0.0, 0
    for block, classes in blocks(logits, labels, "logits"):
        # Relative to the label's logit, all terms of a right answer have one sign: rounding fakes no root.
        lead = block - block.gather(1, classes[:, None])
        total += float((torch.softmax(beta * lead, dim=1) * lead).sum())
        examples += len(classes)
    return total / examples
