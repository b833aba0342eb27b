"""All the figures of a classifier from its logits, in one pass."""

from __future__ import annotations

import torch

from limbeck.metrics.inputs import Array, blocks, check_bins
from limbeck.metrics.selective import aurc, eaurc
from limbeck.metrics.sums import bin_sums, brier_sum, calibration_error, label_rank, nll_sum, top_confidence


def summary(logits: Array, labels: Array, *, bins: int = 15) -> dict[str, float]:
    """Return the figures of `limbeck.metrics.figures.FIGURES`, in their order, unscaled.

    The softmax is taken in float64, block by block, whatever the type of the logits: different confidences
    then round to the same 1 only from a lead of some 37 nats, not from float32's 17.

    Args:
        logits: finite numbers [N, K].
        labels: whole numbers [N] in 0..K-1.
        bins: of the ECE.

    Returns:
        A value per key; `top5_error` is left out for up to five classes, where it would always be 0.

    Raises:
        LimbeckError: empty input, shapes that do not fit, labels out of range, logits that are not finite,
            bins < 1.

    """
    check_bins(bins)
    examples = wrong = wrong5 = 0
    log_loss = squares = 0.0
    binned = torch.zeros(3, bins, dtype=torch.float64)
    # Filled in place: small pieces kept between large temporaries would fragment the heap.
    confidence = torch.empty(len(logits), dtype=torch.float64)
    correct = torch.empty(len(logits), dtype=torch.bool)
    for block, classes in blocks(logits, labels, "logits"):
        probs = torch.softmax(block, dim=1)
        rank = label_rank(block, classes)
        sure, right = top_confidence(probs, classes)
        here = slice(examples, examples + len(classes))
        confidence[here], correct[here] = sure, right
        examples = here.stop
        wrong += int((rank >= 1).sum())
        wrong5 += int((rank >= 5).sum())
        log_loss += float(nll_sum(block, classes))
        squares += float(brier_sum(probs, classes))
        binned += bin_sums(sure, right, bins).cpu()
    values = {
        "error": wrong / examples,
        "top5_error": wrong5 / examples,
        "nll": log_loss / examples,
        "brier": squares / examples,
        "ece": float(calibration_error(binned)),
        "aurc": aurc(confidence, correct),
        "eaurc": eaurc(confidence, correct),
    }
    if logits.shape[1] <= 5:
        del values["top5_error"]
    return values
