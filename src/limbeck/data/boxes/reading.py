"""Reading pictures with their boxes, in worker processes or in this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as vision

from limbeck.data import draws
from limbeck.data.boxes.annotations import Scenes
from limbeck.data.boxes.sizing import Sizing
from limbeck.data.boxes.views import BoxView, Scene
from limbeck.data.readers import decode, seeded
from limbeck.errors import LimbeckError


class Wanted(NamedTuple):
    """The pictures of one micro-batch.

    Attributes:
        seed: of the random views; None reads without randomness.
        epoch: counts from 0.
        views: how many views of each picture.
        ids: int64 [B].
        canvas: height and width of what they are put on.
    """

    seed: int | None
    epoch: int
    views: int
    ids: NDArray[np.int64]
    canvas: tuple[int, int]


class Shown(NamedTuple):
    """One view of these pictures, not yet normalised.

    Attributes:
        images: 8 bits, in the upper left corner, zeros beside them.
        sizes: height and width of each.
        boxes: picture after picture, in pixels of `images`.
        classes: what is in them.
        counts: how many each picture has.
    """

    images: UInt8[Tensor, "batch 3 height width"]
    sizes: Int64[Tensor, "batch 2"]
    boxes: Float32[Tensor, "boxes 4"]
    classes: Int64[Tensor, " boxes"]
    counts: Int64[Tensor, " batch"]


class BoxReader(Dataset["list[Shown] | LimbeckError"]):
    """Reads pictures, changes them at random, and makes them as large as the network sees them.

    Args:
        scenes: the split.
        sizing: how large pictures are made.
        views: random changes, in this order.
    """

    def __init__(self, scenes: Scenes, sizing: Sizing, views: Sequence[BoxView]) -> None:
        self._scenes, self._sizing, self._views = scenes, sizing, views
        self._proportional = all(view.proportional for view in views)
        learned = np.flatnonzero(scenes.learned)
        self._boxes, self._classes = torch.from_numpy(scenes.boxes[learned]), torch.from_numpy(scenes.labels[learned])
        self._starts = np.searchsorted(scenes.pictures[learned], np.arange(len(scenes.names) + 1))

    def __getitem__(self, wanted: Wanted) -> list[Shown] | LimbeckError:
        """Read each view of the pictures.

        A user's mistake is returned: raised in a worker, it would arrive wrapped in a traceback.
        """
        try:
            return self._read(wanted)
        except LimbeckError as error:
            return error

    def opened(self, example: int) -> UInt8[Tensor, "3 height width"]:
        """Return a picture as read.

        Raises:
            LimbeckError: it can't be read, or has not the size that its annotation says.
        """
        image = decode(self._scenes.paths[example])
        (height, width), found = self._scenes.sizes[example].tolist(), tuple(image.shape[1:])
        if found != (height, width):
            path, told = self._scenes.paths[example], self._scenes.told[example]
            raise LimbeckError(
                f"{path} has {found[1]}x{found[0]} pixels, but {told} says {width}x{height}: mend the annotation, or "
                "restore the picture"
            )
        return image

    def _read(self, wanted: Wanted) -> list[Shown]:
        """Read one picture after the other, all views of each, so that it is decoded once and no two are held."""
        ids = torch.from_numpy(wanted.ids)
        words = [
            draws.words(wanted.seed or 0, wanted.epoch, view, ids, stream=draws.VIEWS).tolist()
            for view in range(wanted.views)
        ]
        images = [torch.zeros((len(ids), 3, *wanted.canvas), dtype=torch.uint8) for _ in words]
        scenes: list[list[_Placed]] = [[] for _ in words]
        for place, example in enumerate(wanted.ids.tolist()):
            image = self.opened(example)
            for canvases, seen, bits in zip(images, scenes, words, strict=True):
                scene = self._scene(example, image, None if wanted.seed is None else bits[place])
                height, width = scene.image.shape[1:]
                canvases[place, :, :height, :width] = scene.image
                seen.append(_Placed((height, width), scene.boxes, scene.classes))
        return [_together(canvases, seen) for canvases, seen in zip(images, scenes, strict=True)]

    def _scene(self, example: int, image: Tensor, word: int | None) -> Scene:
        """Return a picture in the size in which it is seen."""
        mine = slice(self._starts[example], self._starts[example + 1])
        scene = Scene(image, self._boxes[mine], self._classes[mine], self._sizing.shorter)
        if word is not None:
            with seeded(word):
                for view in self._views:
                    scene = view(scene)
        height, width = scene.image.shape[1:]
        # what keeps its proportions is as large as was planned, whatever it was rounded to on its way
        planned = self._scenes.sizes[example] if self._proportional else np.array([height, width])
        sizing = self._sizing._replace(shorter=scene.shorter)
        tall, wide = sizing.sizes(planned[None])[0].tolist()
        scale = torch.tensor([wide / width, tall / height]).repeat(2)
        return scene._replace(image=vision.resize(scene.image, [tall, wide], antialias=True), boxes=scene.boxes * scale)


class _Placed(NamedTuple):
    """What is kept of a picture on its canvas."""

    size: tuple[int, int]
    boxes: Float32[Tensor, "boxes 4"]
    classes: Int64[Tensor, " boxes"]


def _together(images: UInt8[Tensor, "batch 3 height width"], seen: Sequence[_Placed]) -> Shown:
    return Shown(
        images,
        torch.tensor([one.size for one in seen]),
        torch.cat([one.boxes for one in seen]),
        torch.cat([one.classes for one in seen]),
        torch.tensor([len(one.boxes) for one in seen]),
    )
