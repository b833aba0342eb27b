"""How good, how sure: accuracy, NLL, Brier, ECE. Pure functions, exact on their definitions.

Scores are tensors or NumPy arrays of any float type, [N, K]; labels are whole numbers [N] in 0..K-1. Results
are Python floats: fractions and nats, unscaled (`limbeck.metrics.figures` says how they are printed). Sums
are taken in float64 over blocks of rows, so the extra memory does not grow with the scores. Every function
raises `LimbeckError` on empty input, shapes that do not fit, labels out of range, numbers that are not
finite, and rows that are no probabilities where probabilities are asked for.

Sources: ECE (Naeini et al. 2015; Guo et al. 2017) with bins (lo, hi] as in PS-KD's released code; Brier
(1950) in its original form, summed over the classes, so between 0 and 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64

from limbeck.metrics.inputs import Array, blocks, check_bins, check_top, probability_blocks, to_numpy
from limbeck.metrics.sums import bin_sums, brier_sum, calibration_error, label_rank, nll_sum, top_confidence


class Reliability(NamedTuple):
    """A reliability diagram: what was promised and what was kept, per bin of confidence ((i-1)/bins, i/bins].

    Attributes:
        examples: how many fall into each bin, int64 [bins].
        confidence: their mean confidence, float64 [bins]; NaN where the bin is empty.
        accuracy: the fraction of them that are right, float64 [bins]; NaN where the bin is empty.

    """

    examples: Int64[np.ndarray, " bins"]
    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]


class Confidences(NamedTuple):
    """How sure each prediction is, and whether it is right: what the risk-coverage metrics look at.

    Attributes:
        confidence: the largest probability, in the probabilities' float type (bfloat16 as float64) [N].
        correct: whether its class is the label, bool [N].

    """

    confidence: Float[np.ndarray, " examples"]
    correct: Bool[np.ndarray, " examples"]


def accuracy(scores: Array, labels: Array, top: int = 1) -> float:
    """Return the fraction of examples whose label is among the `top` classes with the largest scores.

    Args:
        scores: probabilities or logits [N, K]; only their order counts. Among equal scores the lower class
            index comes first, so the answer never depends on the machine.
        labels: [N].
        top: how many guesses each example has, 1..K.

    """
    right = examples = 0
    for block, classes in blocks(scores, labels, "scores"):
        check_top(top, block.shape[1])
        right += int((label_rank(block, classes) < top).sum())
        examples += len(classes)
    return right / examples


def nll(logits: Array, labels: Array) -> float:
    """Return the mean negative log-likelihood in nats, -log softmax(logits)[label], for logits [N, K].

    From logits, not probabilities: a probability that rounds to 0 would cost infinity.
    """
    total, examples = 0.0, 0
    for block, classes in blocks(logits, labels, "logits"):
        total += float(nll_sum(block, classes))
        examples += len(classes)
    return total / examples


def brier(probs: Array, labels: Array) -> float:
    """Return the mean squared distance of probabilities [N, K] to the one-hot label, in [0, 2]."""
    total, examples = 0.0, 0
    for block, classes in probability_blocks(probs, labels):
        total += float(brier_sum(block, classes))
        examples += len(classes)
    return total / examples


def ece(probs: Array, labels: Array, bins: int = 15) -> float:
    """Return the expected calibration error, Σ_b n_b/N · |accuracy_b - mean confidence_b|, in [0, 1].

    For probabilities [N, K]. The bins are equally wide, open on the left and closed on the right; a
    confidence of 0 counts in the first bin, one that rounding lifted above 1 in the last. Papers differ in
    `bins` (PS-KD 10, CRL 15): compare like with like.
    """
    return float(calibration_error(_binned(probs, labels, bins)))


def reliability(probs: Array, labels: Array, bins: int = 15) -> Reliability:
    """Return the diagram that `ece` sums up, for probabilities [N, K] and the same bins."""
    count, confidence, right = _binned(probs, labels, bins)
    # 0/0 is NaN in torch, silently: an empty bin has no mean.
    return Reliability(count.long().numpy(), (confidence / count).numpy(), (right / count).numpy())


def confidences(probs: Array, labels: Array) -> Confidences:
    """Return each row's largest probability and whether it was right, for `aurc`, `eaurc` and kin."""
    own_type = to_numpy(probs[:0]).dtype
    # A maximum is one of its inputs, so going back to their type loses nothing.
    confidence = np.empty(len(probs), dtype=own_type if own_type.kind == "f" else np.float64)
    correct = np.empty(len(probs), dtype=np.bool_)
    start = 0
    for block, classes in probability_blocks(probs, labels):
        sure, right = top_confidence(block, classes)
        here = slice(start, start + len(classes))
        confidence[here], correct[here] = sure.cpu().numpy(), right.cpu().numpy()
        start = here.stop
    return Confidences(confidence, correct)


def _binned(probs: Array, labels: Array, bins: int) -> Float64[torch.Tensor, "3 bins"]:
    check_bins(bins)
    total = torch.zeros(3, bins, dtype=torch.float64)
    for block, classes in probability_blocks(probs, labels):
        total += bin_sums(*top_confidence(block, classes), bins).cpu()
    return total
