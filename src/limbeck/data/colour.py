"""Random changes of colour."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.core.config import NonNegative, configurable
from limbeck.errors import LimbeckError

_LUMA = (0.2989, 0.587, 0.114)


@configurable
class ColourJitter:
    """Change brightness, then contrast, then saturation, each by a factor uniform in [max(0, 1 - x), 1 + x].

    Each operation is torchvision's: blend with black, with the image's mean grey, with its grey version, and
    clamp to [0, 1]; the order is fixed here, random there. Saturation does nothing to an image of one
    channel.

    Attributes:
        brightness: 0 leaves it alone.
        contrast: 0 leaves it alone.
        saturation: 0 leaves it alone.
    """

    name: ClassVar[str] = "colour_jitter"
    exact: ClassVar[bool] = False
    after_normalise: ClassVar[bool] = False
    slots: ClassVar[int] = 3

    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], draws: Float[Tensor, "batch 3"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Change the colours of images in [0, 1], grey or RGB.

        Raises:
            LimbeckError: the images are neither grey nor RGB.
        """
        if self.brightness:
            images = _blend(images, torch.zeros_like(images), _factor(draws[:, 0], self.brightness))
        if self.contrast:
            mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
            images = _blend(images, mean, _factor(draws[:, 1], self.contrast))
        if self.saturation and images.shape[1] > 1:
            images = _blend(images, _grey(images), _factor(draws[:, 2], self.saturation))
        return images


def _factor(draws: Float[Tensor, " batch"], strength: float) -> Float[Tensor, "batch 1 1 1"]:
    lowest = max(0.0, 1.0 - strength)
    return (lowest + draws * (1.0 + strength - lowest))[:, None, None, None]


def _blend(
    images: Float[Tensor, "batch channels height width"],
    others: Float[Tensor, "batch ..."],
    factor: Float[Tensor, "batch 1 1 1"],
) -> Float[Tensor, "batch channels height width"]:
    return (factor * images + (1.0 - factor) * others).clamp(0.0, 1.0)


def _grey(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
    channels = images.shape[1]
    if channels == 1:
        return images
    if channels != 3:
        raise LimbeckError(f"colour_jitter needs grey or RGB images, not {channels} channels: leave it out")
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]
