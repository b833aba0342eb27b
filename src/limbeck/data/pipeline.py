"""From stored images to what the network sees, a batch at a time, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, Int64, Shaped
from torch import Tensor

from limbeck.data import draws
from limbeck.data.views import View


class Pipeline:
    """The views in their order, with conversion to float and normalisation at the right place among them.

    Views that only move pixels run on 8-bit images as long as no other came before, since that is exact and
    cheap. Images that are float already are taken to be in the range that views and network expect.

    Args:
        views: random views; those that belong after normalisation run after it, wherever they stand in the
            list.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        device: where the images are.
    """

    def __init__(
        self, views: Sequence[View], mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> None:
        self._before = [view for view in views if not view.after_normalise]
        self._after = [view for view in views if view.after_normalise]
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._std = torch.tensor(std, device=device)[:, None, None]
        self._identity = all(value == 0 for value in mean) and all(value == 1 for value in std)

    @property
    def slots(self) -> int:
        """How many random numbers an image needs."""
        return sum(view.slots for view in (*self._before, *self._after))

    def draws(self, seed: int, epoch: int, view: int, ids: Int64[Tensor, " batch"]) -> Float32[Tensor, "batch slots"]:
        """Return all the random numbers that view number `view` of the examples needs."""
        return draws.uniform(seed, epoch, view, ids, self.slots, stream=draws.VIEWS)

    def __call__(
        self, images: Shaped[Tensor, "batch channels height width"], numbers: Float32[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch channels newheight newwidth"]:
        """Return the random view of each image."""
        used = 0
        for view in self._before:
            images = images if view.exact else _as_float(images)
            images = view(images, numbers[:, used : used + view.slots])
            used += view.slots
        images = self.plain(images)
        for view in self._after:
            images = view(images, numbers[:, used : used + view.slots])
            used += view.slots
        return images

    def plain(
        self, images: Shaped[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the normalised images."""
        images = _as_float(images)
        return images if self._identity else (images - self._mean).div_(self._std)


def _as_float(
    images: Shaped[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """Return 8-bit images as float32 in [0, 1], and float images as they are."""
    return images if images.is_floating_point() else images.to(torch.float32).div_(255.0)
