"""What a block of rows adds to each metric; sums, so that blocks, batches and processes just add up."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torch.nn import functional


def nll_sum(logits: Float64[Tensor, "rows classes"], labels: Int64[Tensor, " rows"]) -> Float64[Tensor, ""]:
    """Sum -log softmax(logits)[label], in nats."""
    return functional.cross_entropy(logits, labels, reduction="sum")


def brier_sum(probs: Float64[Tensor, "rows classes"], labels: Int64[Tensor, " rows"]) -> Float64[Tensor, ""]:
    """Sum (probability - one-hot label)² over rows and classes."""
    # Subtracting first: the expanded square would cancel to noise, even below 0, on near-perfect predictions.
    own = labels[:, None]
    return probs.scatter_add(1, own, torch.full_like(own, -1, dtype=probs.dtype)).square_().sum()


def label_rank(scores: Float64[Tensor, "rows classes"], labels: Int64[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    """Count the classes that come before the label; among equals the lower index is first, as in argmax."""
    own = scores.gather(1, labels[:, None])
    above = (scores > own).sum(dim=1)
    index = torch.arange(scores.shape[1], device=scores.device)
    return above + ((scores == own) & (index < labels[:, None])).sum(dim=1)


def top_confidence(
    probs: Float64[Tensor, "rows classes"], labels: Int64[Tensor, " rows"]
) -> tuple[Float64[Tensor, " rows"], Bool[Tensor, " rows"]]:
    """Return each row's largest probability, and whether its class (the first, among equals) is the label."""
    confidence, predicted = probs.max(dim=1)
    return confidence, predicted == labels


def bin_sums(
    confidence: Float64[Tensor, " rows"], correct: Bool[Tensor, " rows"], bins: int
) -> Float64[Tensor, "3 bins"]:
    """Sum 1, the confidence and being right, in each of the equal bins ((i-1)/bins, i/bins].

    Only the inner edges are compared: whatever rounding does, 0 is in the first bin, 1 and above in the last,
    and no example is in none.
    """
    inner = torch.arange(1, bins, dtype=torch.float64, device=confidence.device) / bins
    index = torch.bucketize(confidence, inner, right=False)
    parts = torch.stack([torch.ones_like(confidence), confidence, correct.double()])
    return torch.zeros(3, bins, dtype=torch.float64, device=confidence.device).index_add_(1, index, parts)


def calibration_error(binned: Float64[Tensor, "3 bins"]) -> Float64[Tensor, ""]:
    """Return Σ_b n_b/N · |accuracy_b - mean confidence_b| = Σ_b |right_b - sum of confidence_b| / N."""
    error: Float64[Tensor, ""] = (binned[2] - binned[1]).abs().sum() / binned[0].sum()
    return error
