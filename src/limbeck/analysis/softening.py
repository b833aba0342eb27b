"""How soft targets tend to uniform as the temperature grows (Yuan et al., CVPR 2020).

It is the bridge from distillation to label smoothing: at a high temperature a trained network's targets are nearly the
uniform distribution, and so are those of a virtual teacher that knows nothing but the label. Only the targets: the
factor T² of the equation makes up for what they lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limbeck.errors import LimbeckError

_BLOCK_ELEMENTS = 2**20


class Softening(NamedTuple):
    """Means over the examples, one per temperature, of p = softmax(z / T) against the uniform distribution u.

    Attributes:
        total_variation: ½ Σ_k |p_k - 1/K|, float64 [T]; at most 1 - 1/K.
        divergence: KL(p ‖ u) in nats, float64 [T]; at most log K.
        entropy: of p in units of log K, float64 [T]; 1 is uniform.
    """

    total_variation: Float64[Tensor, " temperatures"]
    divergence: Float64[Tensor, " temperatures"]
    entropy: Float64[Tensor, " temperatures"]


def softening(logits: Float[Tensor, "examples classes"], temperatures: Sequence[float]) -> Softening:
    """Return how far the softened predictions are from uniform.

    Args:
        logits: finite, of any float type; all is computed in float64.
        temperatures: each above 0.

    Raises:
        LimbeckError: there is no example, or fewer than two classes.
    """
    examples, classes = logits.shape
    if not examples or classes < 2:
        raise LimbeckError(f"softening needs examples of at least two classes, not logits of shape {[*logits.shape]}")
    sums = torch.zeros(3, len(temperatures), dtype=torch.float64)
    rows = max(1, _BLOCK_ELEMENTS // classes)
    for start in range(0, examples, rows):
        block = logits[start : start + rows].double()
        for i, temperature in enumerate(temperatures):
            log_p = (block / temperature).log_softmax(1)
            p = log_p.exp()
            distance = (p - 1 / classes).abs().sum() / 2
            # a class of probability 0 adds nothing, and log_p is finite: no 0 · ∞
            sums[:, i] += torch.stack([distance, (p * (log_p + math.log(classes))).sum(), -(p * log_p).sum()]).cpu()
    total_variation, divergence, entropy = sums / examples
    return Softening(total_variation, divergence.clamp(min=0), entropy / math.log(classes))
