"""Another example of the same class for every example, drawn anew each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from limbeck.data import draws


def same_class(
    seed: int, epoch: int, ids: Int64[Tensor, " count"], labels: Int64[Tensor, " count"]
) -> Int64[Tensor, " count"]:
    """Draw another example of the same class, as its position in the split; alone in a class, one is one's own.

    A pure function of (seed, epoch, id) and the split's labels, so one process equals two.
    """
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    start, size = (sizes.cumsum(0) - sizes)[labels], sizes[labels]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(labels))
    others = draws.integers(seed, epoch, 0, ids, size - 1, stream=draws.SIBLING)
    others = others + (others >= place - start)
    return order[start + others.where(size > 1, torch.zeros_like(others))]


def lonely(labels: Int64[np.ndarray, " count"], classes: Sequence[str]) -> list[str]:
    """Return the names of the classes that have one example only."""
    return [classes[int(label)] for label in np.flatnonzero(np.bincount(labels) == 1)]
