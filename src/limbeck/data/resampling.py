"""Random views that compute pixels between pixels: crops of random size, rotations."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.core.config import Count, Real, configurable

_ATTEMPTS = 10


class Boxes(NamedTuple):
    """A box in each image, in whole pixels: each int64 [B]."""

    top: Int[Tensor, " batch"]
    left: Int[Tensor, " batch"]
    height: Int[Tensor, " batch"]
    width: Int[Tensor, " batch"]


@configurable
class RandomResizedCrop:
    """Cut a box of random area and shape out and resize it to a square.

    The box is chosen as torchvision does: up to ten attempts, then the largest centred box of an allowed
    shape. Resident images are resized by bilinear interpolation **without antialias**; streamed image files
    are cut and resized one by one in the worker, with antialias.

    Attributes:
        size: side of the result in pixels.
        scale: smallest and largest area of the box, as a share of the image's.
        ratio: smallest and largest width / height of the box.
    """

    name: ClassVar[str] = "random_resized_crop"
    exact: ClassVar[bool] = False
    after_normalise: ClassVar[bool] = False
    slots: ClassVar[int] = 2 * _ATTEMPTS + 2

    size: Count
    scale: tuple[Real, Real] = (0.08, 1.0)
    ratio: tuple[Real, Real] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale {self.scale} must be two rising numbers in (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"ratio {self.ratio} must be two rising positive numbers")

    def boxes(self, draws: Float[Tensor, "batch slots"], height: int, width: int) -> Boxes:
        """Choose a box in each of a batch of images of `height` x `width` pixels."""
        areas, ratios = draws[:, :_ATTEMPTS], draws[:, _ATTEMPTS : 2 * _ATTEMPTS]
        area = height * width * (self.scale[0] + areas * (self.scale[1] - self.scale[0]))
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = torch.exp(low + ratios * (high - low))
        widths, heights = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        # The first attempt that fits: of equal numbers, argmax may return any.
        falling = torch.arange(_ATTEMPTS, 0, -1, device=draws.device)
        first = (fits * falling).argmax(dim=1, keepdim=True)
        fallback_height, fallback_width = self._largest(height, width)
        found = fits.any(dim=1)
        box_height = torch.where(found, heights.gather(1, first)[:, 0], fallback_height)
        box_width = torch.where(found, widths.gather(1, first)[:, 0], fallback_width)
        free_rows, free_columns = height - box_height, width - box_width
        top = torch.where(found, (draws[:, -2] * (free_rows + 1)).long(), free_rows // 2)
        left = torch.where(found, (draws[:, -1] * (free_columns + 1)).long(), free_columns // 2)
        return Boxes(top, left, box_height, box_width)

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], draws: Float[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the view of each image."""
        box = self.boxes(draws, *images.shape[-2:])
        rows = self._places(box.top, box.height)[:, :, None].expand(-1, self.size, self.size)
        columns = self._places(box.left, box.width)[:, None, :].expand(-1, self.size, self.size)
        return _sample(images, rows, columns)

    def _largest(self, height: int, width: int) -> tuple[int, int]:
        if width / height < self.ratio[0]:
            return min(height, round(width / self.ratio[0])), width
        if width / height > self.ratio[1]:
            return height, min(width, round(height * self.ratio[1]))
        return height, width

    def _places(self, first: Int[Tensor, " batch"], length: Int[Tensor, " batch"]) -> Float[Tensor, "batch size"]:
        steps = (torch.arange(self.size, device=first.device) + 0.5) / self.size
        inside = (steps * length[:, None] - 0.5).clamp(min=0.0)
        # Clamped to the box: pixels next to it must not shine in.
        return first[:, None] + torch.minimum(inside, (length - 1)[:, None].to(inside.dtype))


@configurable
class Rotation:
    """Turn about the centre by an angle uniform in [-degrees, degrees]: bilinear, black outside, same size.

    Attributes:
        degrees: the largest angle, at most 180.
    """

    name: ClassVar[str] = "rotation"
    exact: ClassVar[bool] = False
    after_normalise: ClassVar[bool] = False
    slots: ClassVar[int] = 1

    degrees: Real

    def __post_init__(self) -> None:
        if not 0 < self.degrees <= 180:
            raise ValueError(f"degrees {self.degrees} must be in (0, 180]")

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], draws: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the view of each image; a positive angle turns counter-clockwise."""
        height, width = images.shape[-2:]
        angle = ((2.0 * draws - 1.0) * math.radians(self.degrees))[:, :, None]
        down = (torch.arange(height, device=images.device) - (height - 1) / 2)[None, :, None]
        right = (torch.arange(width, device=images.device) - (width - 1) / 2)[None, None, :]
        rows = angle.cos() * down + angle.sin() * right + (height - 1) / 2
        columns = angle.cos() * right - angle.sin() * down + (width - 1) / 2
        return _sample(images, rows, columns)


def _sample(
    images: Float[Tensor, "batch channels height width"],
    rows: Float[Tensor, "batch rows columns"],
    columns: Float[Tensor, "batch rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """Read the images at fractional pixel places; black outside."""
    height, width = images.shape[-2:]
    grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", align_corners=False)
