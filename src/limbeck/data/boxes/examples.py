"""Pictures with boxes, read when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from limbeck.core.batch import Batch, Pictures
from limbeck.core.boxes import Truth
from limbeck.data import draws
from limbeck.data.boxes.annotations import Scenes
from limbeck.data.boxes.reading import BoxReader, Shown, Wanted
from limbeck.data.boxes.sizing import Sizing, rounded
from limbeck.data.boxes.views import BoxView, Rescale
from limbeck.data.examples import Round
from limbeck.data.fetching import Loaders
from limbeck.data.order import Itinerary, chunks, itinerary, steps_of
from limbeck.errors import LimbeckError


class BoxSetting(NamedTuple):
    """How pictures are read.

    Attributes:
        sizing: how large they are made.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        views: random changes, in this order.
        workers: reading processes; 0 reads in this one. The result is the same.
        device: where batches go.
    """

    sizing: Sizing
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    views: tuple[BoxView, ...]
    workers: int
    device: torch.device | str


class BoxExamples:
    """A split of pictures with boxes. See `Examples`; an example is a picture, and its label says nothing.

    A view of a batch is `Pictures`. All pictures of a training step have one canvas, whatever the processes and
    micro-batches; in order, those that follow each other are together as long as their own canvases are equal, so that
    what a network says of a picture does not depend on its neighbours.

    Attributes:
        truth: what is in the pictures, in pixels as read.
        sizes: height and width as read, int64 [count, 2].
        names: of the pictures.

    Args:
        scenes: the pictures; their boxes lie inside them.
        setting: how they are read.
    """

    def __init__(self, scenes: Scenes, setting: BoxSetting) -> None:
        self.classes, self.names, self.sizes = scenes.classes, scenes.names, scenes.sizes
        self.mean: tuple[float, ...] = setting.mean
        self.std: tuple[float, ...] = setting.std
        self.count = self.id_space = len(scenes.names)
        self.ids = np.arange(self.count)
        self.labels = np.zeros(self.count, np.int64)
        self.truth = Truth(self.ids, scenes.pictures, scenes.boxes, scenes.labels, scenes.ignored)
        sizing = setting.sizing
        rescaled = [side for view in setting.views if isinstance(view, Rescale) for side in view.sides]
        largest = sizing._replace(shorter=max(rescaled, default=sizing.shorter))
        side = int(rounded(np.array([[largest.side] * 2]))[0, 0])
        self.shape = (3, side, side)
        self._plain = rounded(sizing.sizes(scenes.sizes))
        steady = sizing.square or all(view.proportional for view in setting.views)
        self._most = rounded(largest.sizes(scenes.sizes)) if steady else np.full_like(scenes.sizes, side)
        self._device = torch.device(setting.device)
        self._reader = BoxReader(scenes, sizing, setting.views)
        self._loaders = Loaders(self._reader, setting.workers, pinned=self._device.type == "cuda")
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (setting.mean, setting.std)
        )
        self.fingerprint = _fingerprint(scenes, sizing)

    def picture(self, example: int) -> UInt8[Tensor, "3 height width"]:
        """Return a picture as it is read.

        Raises:
            LimbeckError: it can't be, or has not the size that its annotation says.
        """
        return self._reader.opened(example)

    def steps(self, batch_size: int) -> int:
        """Return the number of steps of an epoch."""
        return steps_of(self.count, batch_size)

    def epoch(
        self,
        epoch: int,
        *,
        batch_size: int,
        seed: int,
        views: int = 1,
        siblings: bool = False,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
        start: int = 0,
        shards: Sequence[int] = (),
    ) -> Iterator[Round]:
        """Iterate over the steps of an epoch, as `Examples.epoch` says.

        Raises:
            LimbeckError: as `order.itinerary`; siblings or shards are asked for, which pictures with boxes have none
                of; while iterating, a picture can't be read.
        """
        if siblings or shards:
            raise LimbeckError(
                "pictures with boxes have no class and no shards: choose another method, and training.shuffle global"
            )
        plan = partial(itinerary, self.count, batch_size=batch_size, seed=seed, epoch=epoch, start=start)
        mine, whole = plan(rank=rank, world=world, parts=parts), plan(rank=0, world=1, parts=1)
        return self._rounds(mine, whole, seed, epoch, views)

    def in_order(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Iterate over this process's share for evaluation, as `Examples.in_order` says.

        Batches are smaller than `batch_size` where pictures of another canvas follow.
        """
        pieces = chunks(self.count, batch_size, rank, world)
        share = self.ids[pieces[0].start : pieces[-1].stop] if pieces else self.ids[:0]
        ends = np.flatnonzero((self._plain[share][1:] != self._plain[share][:-1]).any(axis=1)) + 1
        wanted = [
            Wanted(None, 0, 1, alike[first : first + batch_size], _canvas(self._plain[alike]))
            for alike in np.split(share, ends)
            for first in range(0, len(alike), batch_size)
        ]
        yield from map(self._batch, wanted, self._loaders.stream(wanted))

    def _rounds(self, mine: Itinerary, whole: Itinerary, seed: int, epoch: int, views: int) -> Iterator[Round]:
        wanted = []
        for pieces, (everyone,) in zip(mine.pieces, whole.pieces, strict=True):
            canvas = _canvas(self._most[whole.positions[everyone]])
            wanted += [Wanted(seed, epoch, views, mine.positions[piece], canvas) for piece in pieces]
        batches = map(self._batch, wanted, self._loaders.stream(wanted))
        for pieces, total in zip(mine.pieces, mine.totals, strict=True):
            yield Round(tuple(next(batches) for _ in pieces), total)

    def _batch(self, wanted: Wanted, shown: Sequence[Shown]) -> Batch:
        ids = torch.from_numpy(wanted.ids)
        views = tuple(self._pictures(wanted, view, one, ids) for view, one in enumerate(shown))
        return Batch(ids.to(self._device), views, torch.zeros(len(ids), dtype=torch.int64, device=self._device))

    def _pictures(self, wanted: Wanted, view: int, shown: Shown, ids: Int64[Tensor, " batch"]) -> Pictures:
        words = draws.words(wanted.seed or 0, wanted.epoch, view, ids, stream=draws.BOXES)
        return Pictures(
            self._normalised(*(part.to(self._device, non_blocking=True) for part in (shown.images, shown.sizes))),
            tuple((height, width) for height, width in shown.sizes.tolist()),
            shown.boxes.to(self._device, non_blocking=True),
            shown.classes.to(self._device, non_blocking=True),
            tuple(shown.counts.tolist()),
            tuple(words.tolist()),
        )

    def _normalised(
        self, images: UInt8[Tensor, "batch 3 height width"], sizes: Int64[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return the normalised pictures, with zeros beside them."""
        rows, columns = (
            torch.arange(side, device=images.device) >= own[:, None]
            for side, own in zip(images.shape[2:], sizes.unbind(1), strict=True)
        )
        beside = (rows[:, :, None] | columns[:, None, :])[:, None]
        scaled = images.to(torch.float32).div_(255.0)
        return scaled.sub_(self._mean).div_(self._std).masked_fill_(beside, 0.0)


def _canvas(sizes: Int64[np.ndarray, "pictures 2"]) -> tuple[int, int]:
    """Return the height and width that hold all of these."""
    height, width = sizes.max(axis=0).tolist()
    return height, width


def _fingerprint(scenes: Scenes, sizing: Sizing) -> str:
    digest = hashlib.sha256(repr((sizing, scenes.classes, scenes.names)).encode())
    for part in (scenes.sizes, scenes.weights, scenes.pictures, scenes.boxes, scenes.labels):
        digest.update(np.ascontiguousarray(part).data)
    for flags in (scenes.ignored, scenes.learned):
        digest.update(np.packbits(flags).data)
    return digest.hexdigest()
