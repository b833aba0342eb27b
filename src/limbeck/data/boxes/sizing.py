"""How large pictures are when a network sees them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

# detectors halve their pictures five times
MULTIPLE = 32


class Sizing(NamedTuple):
    """How large pictures are made.

    Attributes:
        shorter: of the shorter side, in pixels.
        longer: at most so many pixels on the longer side, and fewer than `shorter` on the other where need be.
        square: both sides are `shorter`, whatever the proportions.
    """

    shorter: int
    longer: int
    square: bool

    def sizes(self, read: Int64[np.ndarray, "pictures 2"]) -> Int64[np.ndarray, "pictures 2"]:
        """Return height and width in which pictures are seen, given those in which they are read."""
        if self.square:
            return np.full_like(read, self.shorter)
        least, most = read.min(axis=1), read.max(axis=1)
        # half pixels are rounded up, in whole numbers, so that every machine agrees
        long = np.minimum((2 * most * self.shorter + least) // (2 * least), self.longer)
        cut = most * self.shorter > least * self.longer
        short = np.where(cut, (2 * least * self.longer + most) // (2 * most), self.shorter)
        tall = read[:, 0] >= read[:, 1]
        seen = np.stack((np.where(tall, long, short), np.where(tall, short, long)), axis=1)
        return seen.clip(min=1)

    @property
    def side(self) -> int:
        """The longest side that a picture may have."""
        return self.shorter if self.square else self.longer


def rounded(sizes: Int64[np.ndarray, "pictures 2"]) -> Int64[np.ndarray, "pictures 2"]:
    """Return height and width of the smallest canvas of each picture."""
    canvases: Int64[np.ndarray, "pictures 2"] = -(-sizes // MULTIPLE) * MULTIPLE
    return canvases
