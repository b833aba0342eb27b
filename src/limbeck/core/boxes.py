"""Boxes in the pictures of a whole split: what is there, and what a network says is there.

Coordinates are pixels of the pictures as they were read: left, top, right, bottom.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64


class Truth(NamedTuple):
    """What is in the pictures of a split.

    Attributes:
        ids: of all pictures of the split, also those without a box, ascending, int64 [P].
        pictures: for each box the id of its picture, ascending, int64 [M].
        boxes: float32 [M, 4].
        classes: int64 [M], 1..K-1.
        ignored: whether a box counts neither as found nor as missed (difficult ones of VOC, crowds of COCO).
    """

    ids: Int64[np.ndarray, " pictures"]
    pictures: Int64[np.ndarray, " boxes"]
    boxes: Float32[np.ndarray, "boxes 4"]
    classes: Int64[np.ndarray, " boxes"]
    ignored: Bool[np.ndarray, " boxes"]


class Found(NamedTuple):
    """What a network says is in the pictures of a split.

    Attributes:
        pictures: for each box the id of its picture, ascending, int64 [D].
        boxes: float32 [D, 4].
        classes: int64 [D], 1..K-1.
        scores: in [0, 1], float32 [D].
    """

    pictures: Int64[np.ndarray, " boxes"]
    boxes: Float32[np.ndarray, "boxes 4"]
    classes: Int64[np.ndarray, " boxes"]
    scores: Float32[np.ndarray, " boxes"]
