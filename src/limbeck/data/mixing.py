"""Mix another image of the training set into an example's own.

Weight, box and partner are drawn per **example** and are a pure function of (seed, epoch, id), so that one
process equals two. (The authors' codes draw one weight and box a batch, and partners within the batch.) All
views of an example share them, since they share the labels; the partner's image is the partner's own view of
the same epoch and number.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from scipy.special import betaincinv
from torch import Tensor

from limbeck.core.config import Fraction, Positive, configurable
from limbeck.data import draws
from limbeck.errors import LimbeckError


class MixPlan(NamedTuple):
    """What is mixed into every example of a split during an epoch, drawn on the host before it starts.

    Attributes:
        partners: position of the partner in the split, int64 [N]; the example's own where nothing is mixed
            in.
        weight: the share of the example's own image, float32 [N] in [0, 1]; 1 where nothing is mixed in.
        boxes: what the partner's image covers (top, left, bottom, right; the last two outside), int64 [N, 4];
            all zero if it covers nothing, or if the images are blended.
    """

    partners: Int64[Tensor, " count"]
    weight: Float32[Tensor, " count"]
    boxes: Int64[Tensor, "count 4"]


@runtime_checkable
class Mixer(Protocol):
    """A way to mix two images."""

    name: ClassVar[str]

    def plan(self, seed: int, epoch: int, ids: Tensor, height: int, width: int) -> MixPlan:
        """Draw an epoch's partners, weights and boxes for the examples `ids`, int64 [N], on the host."""
        ...

    def blend(self, own: Tensor, other: Tensor, weight: Tensor, boxes: Tensor) -> Tensor:
        """Mix two batches [B, C, H, W], given weight [B] and boxes [B, 4]."""
        ...


@configurable
class CutMix:
    """Cover a box of the image by the same box of another one; labels weigh as the pixels.

    Source: Yun et al., "CutMix" (ICCV 2019). The weight is corrected to the area of the box inside the image.

    Attributes:
        alpha: the uncovered share is drawn from Beta(alpha, alpha).
        probability: share of the examples that are mixed.
    """

    name: ClassVar[str] = "cutmix"

    alpha: Positive = 1.0
    probability: Fraction = 0.5

    def plan(self, seed: int, epoch: int, ids: Int64[Tensor, " count"], height: int, width: int) -> MixPlan:
        """Draw an epoch's partners, weights and boxes for the examples `ids`, on the host.

        Raises:
            LimbeckError: there is only one example.
        """
        numbers = draws.uniform(seed, epoch, 0, ids, slots=4, stream=draws.MIX).numpy().astype(np.float64)
        mixed = numbers[:, 0] < self.probability
        side = np.sqrt(1.0 - _beta(numbers[:, 1], self.alpha)) * mixed
        top, bottom = _span(numbers[:, 2], side, height)
        left, right = _span(numbers[:, 3], side, width)
        weight = 1.0 - (bottom - top) * (right - left) / (height * width)
        boxes = np.stack((top, left, bottom, right), axis=1)
        share = torch.from_numpy(weight).float()
        return MixPlan(_partners(seed, epoch, ids, share), share, torch.from_numpy(boxes))

    def blend(
        self,
        own: Float[Tensor, "batch channels height width"],
        other: Float[Tensor, "batch channels height width"],
        weight: Float[Tensor, " batch"],
        boxes: Int64[Tensor, "batch 4"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Put the other image into the box."""
        top, left, bottom, right = boxes[:, :, None].unbind(1)
        row = torch.arange(own.shape[-2], device=own.device)
        column = torch.arange(own.shape[-1], device=own.device)
        rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
        return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], other, own)


@configurable
class Mixup:
    """Blend the image with another one; labels weigh as the pixels.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization" (ICLR 2018).

    Attributes:
        alpha: the share of the own image is drawn from Beta(alpha, alpha).
        probability: share of the examples that are mixed.
    """

    name: ClassVar[str] = "mixup"

    alpha: Positive = 0.2
    probability: Fraction = 1.0

    def plan(self, seed: int, epoch: int, ids: Int64[Tensor, " count"], height: int, width: int) -> MixPlan:
        """Draw an epoch's partners and weights for the examples `ids`, on the host.

        Raises:
            LimbeckError: there is only one example.
        """
        numbers = draws.uniform(seed, epoch, 0, ids, slots=2, stream=draws.MIX).numpy().astype(np.float64)
        mixed = numbers[:, 0] < self.probability
        share = torch.from_numpy(np.where(mixed, _beta(numbers[:, 1], self.alpha), 1.0)).float()
        boxes = torch.zeros(len(ids), 4, dtype=torch.int64)
        return MixPlan(_partners(seed, epoch, ids, share), share, boxes)

    def blend(
        self,
        own: Float[Tensor, "batch channels height width"],
        other: Float[Tensor, "batch channels height width"],
        weight: Float[Tensor, " batch"],
        boxes: Int64[Tensor, "batch 4"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Return weight * own + (1 - weight) * other."""
        share = weight[:, None, None, None]
        return share * own + (1.0 - share) * other


def _beta(uniform: np.ndarray, alpha: float) -> np.ndarray:
    """Turn uniform numbers into numbers from Beta(alpha, alpha), by the inverse distribution function."""
    return uniform if math.isclose(alpha, 1.0) else betaincinv(alpha, alpha, uniform)


def _span(centre: np.ndarray, side: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Place a segment of int(size * side) pixels around a random pixel and clip it to 0..size."""
    middle, length = (centre * size).astype(np.int64), (size * side).astype(np.int64)
    first = middle - length // 2
    return np.clip(first, 0, size), np.clip(first + length, 0, size)


def _partners(
    seed: int, epoch: int, ids: Int64[Tensor, " count"], weight: Float32[Tensor, " count"]
) -> Int64[Tensor, " count"]:
    """Draw another example of the split for each one that has anything mixed in."""
    count = len(ids)
    if count < 2:
        raise LimbeckError("mixing needs at least two training examples: leave it out")
    own = torch.arange(count)
    others = draws.integers(seed, epoch, 0, ids, count - 1, stream=draws.PARTNER)
    others = others + (others >= own)
    return torch.where(weight < 1.0, others, own)
