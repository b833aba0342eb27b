"""What a source gives: everything it has, before it's split. Each kind makes examples of a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.examples import Examples, Members
from limbeck.data.mixing import Mixer
from limbeck.data.passes import Recurrence
from limbeck.data.readers import FileReader
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.resident import ResidentExamples
from limbeck.data.streamed import StreamedExamples
from limbeck.data.views import View
from limbeck.errors import LimbeckError


class Setting(NamedTuple):
    """What examples are made with, besides who they are: see `Data` and `Examples` for the fields."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    views: Sequence[View]
    mix: Mixer | None
    workers: int
    device: torch.device | str
    recurrence: Recurrence = Recurrence()


@runtime_checkable
class RawSplit(Protocol):
    """All the examples of a source's training or test set.

    Attributes:
        labels: int64 [N]; an example's id is its place here.
    """

    labels: NDArray[np.int64]

    def examples(self, members: Members, setting: Setting) -> Examples:
        """Make examples of those in `members`."""
        ...


class RawSplits(NamedTuple):
    """Everything that a source has.

    Attributes:
        train: the original training set.
        test: the original test set.
        classes: name of each class.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
    """

    train: RawSplit
    test: RawSplit
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Source(Protocol):
    """Where images come from.

    Attributes:
        name: its name in a recipe.
        standard_views: the random views that are customary for it.
    """

    name: ClassVar[str]

    @property
    def standard_views(self) -> tuple[View, ...]: ...  # noqa: D102

    def load(self) -> RawSplits:
        """Read or open everything.

        Raises:
            LimbeckError: something is missing or broken.
        """
        ...


class RawImages:
    """Small images, all in memory.

    Args:
        pixels: uint8 [N, C, H, W].
        labels: int64 [N].
    """

    def __init__(
        self, pixels: UInt8[Tensor, "count channels height width"], labels: Int64[np.ndarray, " count"]
    ) -> None:
        self._pixels = pixels
        self.labels = labels

    def examples(self, members: Members, setting: Setting) -> Examples:
        """Make resident examples; they copy their images."""
        return ResidentExamples(
            self._pixels[torch.from_numpy(members.ids)],
            members,
            mean=setting.mean,
            std=setting.std,
            views=setting.views,
            mix=setting.mix,
            device=setting.device,
            recurrence=setting.recurrence,
        )


class RawFiles:
    """Image files of any size, read when they're needed.

    Args:
        paths: one file each.
        labels: int64 [N].
        identity: relative path and size of each file.
        size: side in pixels of what the network sees.
    """

    def __init__(
        self, paths: Sequence[str], labels: Int64[np.ndarray, " count"], identity: Sequence[str], size: int
    ) -> None:
        self._paths, self._identity, self._size = paths, identity, size
        self.labels = labels

    def examples(self, members: Members, setting: Setting) -> Examples:
        """Make streamed examples: a random crop runs in the workers, all other views on the device.

        Raises:
            LimbeckError: a random crop isn't the first view, or has another size.
        """
        crop, views = self._crop(setting.views)
        return StreamedExamples(
            FileReader(self._paths, self._size, crop),
            members,
            shape=(3, self._size, self._size),
            identity=[self._identity[example] for example in members.ids],
            mean=setting.mean,
            std=setting.std,
            views=views,
            mix=setting.mix,
            workers=setting.workers,
            device=setting.device,
            recurrence=setting.recurrence,
        )

    def _crop(self, views: Sequence[View]) -> tuple[RandomResizedCrop | None, Sequence[View]]:
        crops = [view for view in views if isinstance(view, RandomResizedCrop)]
        if not crops:
            return None, views
        if len(crops) > 1 or views[0] is not crops[0]:
            raise LimbeckError("random_resized_crop fixes the size of the images: make it the first view, once")
        if crops[0].size != self._size:
            raise LimbeckError(
                f"random_resized_crop has size {crops[0].size}, but the source has size {self._size}: make them equal"
            )
        return crops[0], views[1:]
