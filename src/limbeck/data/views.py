"""Random views of a batch of images. The random numbers are given, so a view is a pure function of them.

A class says how many numbers in [0, 1) an image needs (`slots`) and turns a batch and its numbers into the
views, without a loop over images and without waiting for the device.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from limbeck.core.config import Count, Fraction, configurable
from limbeck.errors import LimbeckError


@runtime_checkable
class View(Protocol):
    """One random change of an image.

    Attributes:
        name: its name in a recipe.
        exact: it only moves pixels, so it works on 8-bit images as well.
        after_normalise: it belongs after normalisation (where 0 is the mean pixel) instead of before (0 is
            black).
        slots: how many numbers an image needs.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    after_normalise: ClassVar[bool]

    @property
    def slots(self) -> int: ...  # noqa: D102

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return the view of each image [B, C, H, W], given its numbers [B, slots]."""
        ...


@configurable
class PadCrop:
    """Pad, and cut the original size out, anywhere.

    Attributes:
        padding: pixels added on each side.
        fill: what they are: black, or the image mirrored at its edge.

    Raises:
        LimbeckError: when called, on images too small to be mirrored so far.
    """

    name: ClassVar[str] = "pad_crop"
    exact: ClassVar[bool] = True
    after_normalise: ClassVar[bool] = False
    slots: ClassVar[int] = 2

    padding: Count = 4
    fill: Literal["black", "reflect"] = "black"

    def __call__(
        self, images: Shaped[Tensor, "batch channels height width"], draws: Float[Tensor, "batch 2"]
    ) -> Shaped[Tensor, "batch channels height width"]:
        """Return the view of each image."""
        height, width = images.shape[-2:]
        if self.fill == "black":
            padded = F.pad(images, (self.padding,) * 4)
        else:
            rows, columns = (_mirrored(side, self.padding).to(images.device) for side in (height, width))
            padded = images[:, :, rows][:, :, :, columns]
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        top, left = (draws * (2 * self.padding + 1)).long().unbind(1)
        return windows[torch.arange(len(images), device=images.device), :, top, left]


def _mirrored(side: int, padding: int) -> Int64[Tensor, " padded"]:
    """Return the pixel at each place of a padded side; the pixel at the edge is not repeated."""
    if padding >= side:
        raise LimbeckError(f"pad_crop cannot mirror {padding} pixels of an image with sides of {side}: lower padding")
    places = torch.arange(-padding, side + padding).abs()
    return torch.where(places < side, places, 2 * (side - 1) - places)


@configurable
class Flip:
    """Mirror left and right.

    Attributes:
        probability: share of the images that are mirrored.
    """

    name: ClassVar[str] = "flip"
    exact: ClassVar[bool] = True
    after_normalise: ClassVar[bool] = False
    slots: ClassVar[int] = 1

    probability: Fraction = 0.5

    def __call__(
        self, images: Shaped[Tensor, "batch channels height width"], draws: Float[Tensor, "batch 1"]
    ) -> Shaped[Tensor, "batch channels height width"]:
        """Return the view of each image."""
        return torch.where((draws < self.probability)[:, :, None, None], images.flip(-1), images)


@configurable
class Cutout:
    """Set a square to the mean pixel; its centre may lie anywhere, so the border may clip it.

    Source: DeVries & Taylor, "Improved regularization of convolutional neural networks with Cutout" (2017);
    for CIFAR-100 they use 8 pixels, for CIFAR-10 16. An odd length is kept here (their code makes it one
    smaller).

    Attributes:
        length: side of the square in pixels.
        probability: share of the images that are cut.
    """

    name: ClassVar[str] = "cutout"
    exact: ClassVar[bool] = False
    after_normalise: ClassVar[bool] = True
    slots: ClassVar[int] = 3

    length: Count
    probability: Fraction = 1.0

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], draws: Float[Tensor, "batch 3"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the view of each image."""
        rows = self._inside(draws[:, 0], images.shape[-2])[:, :, None]
        columns = self._inside(draws[:, 1], images.shape[-1])[:, None, :]
        applied = (draws[:, 2] < self.probability)[:, None, None]
        return images.masked_fill((rows & columns & applied)[:, None], 0.0)

    def _inside(self, draws: Float[Tensor, " batch"], size: int) -> Shaped[Tensor, "batch size"]:
        first = (draws * size).long()[:, None] - self.length // 2
        places = torch.arange(size, device=draws.device)
        return (places >= first) & (places < first + self.length)
