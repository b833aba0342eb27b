"""Small images, all of them on the device: no workers, no copies, everything for a whole batch at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limbeck.core.batch import Batch
from limbeck.data.examples import Members, Round, check_labels
from limbeck.data.mixing import Mixer
from limbeck.data.order import Itinerary, chunks, itinerary, steps_of
from limbeck.data.passes import Pass, Recurrence
from limbeck.data.pipeline import Pipeline
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.views import View
from limbeck.errors import LimbeckError


class ResidentExamples:
    """Examples whose images lie on the device as one 8-bit tensor. See `Examples`.

    Args:
        pixels: the images of this split, uint8 [N, C, H, W].
        members: which examples they are.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        views: random views.
        mix: how images are mixed, if they are.
        device: where to keep the images.
        recurrence: when views come again.

    Raises:
        LimbeckError: a label is out of range, there are no examples, or a view changes the size of the
            images.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "count channels height width"],
        members: Members,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        views: Sequence[View] = (),
        mix: Mixer | None = None,
        device: torch.device | str = "cpu",
        recurrence: Recurrence = Recurrence(),  # noqa: B008
    ) -> None:
        check_labels(members.labels, len(members.classes), "the data set")
        self.classes, self.id_space = members.classes, members.id_space
        self.ids, self.labels = members.ids, members.labels
        self.mean, self.std = mean, std
        self.count = len(pixels)
        self.shape: tuple[int, int, int] = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        _check_size(views, self.shape)
        self.fingerprint = _fingerprint(pixels, members)
        self._members, self._mix, self._recurrence = members, mix, recurrence
        self._device = torch.device(device)
        self._pixels = pixels.to(self._device)
        self._pipeline = Pipeline(views, mean, std, self._device)

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
        """Iterate over the steps of an epoch, as `Examples.epoch` says."""
        route = itinerary(
            self.count,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            rank=rank,
            world=world,
            parts=parts,
            start=start,
            shards=shards,
        )
        view_seed, view_epoch = self._recurrence.of(seed, epoch)
        run = Pass(
            self._members,
            route,
            self._pipeline,
            self._mix,
            seed=view_seed,
            epoch=view_epoch,
            views=views,
            siblings=siblings,
            size=self.shape[1:],
            device=self._device,
        )
        return self._rounds(run, route, views)

    def in_order(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Iterate over this process's share for evaluation, as `Examples.in_order` says."""
        ids = torch.from_numpy(self.ids).to(self._device)
        labels = torch.from_numpy(self.labels).to(self._device)
        for piece in chunks(self.count, batch_size, rank, world):
            yield Batch(ids[piece], (self._pipeline.plain(self._pixels[piece]),), labels[piece])

    def _rounds(self, run: Pass, route: Itinerary, views: int) -> Iterator[Round]:
        for pieces, total in zip(route.pieces, route.totals, strict=True):
            yield Round(tuple(self._batch(run, piece, views) for piece in pieces), total)

    def _batch(self, run: Pass, piece: slice, views: int) -> Batch:
        stored = [self._pixels.index_select(0, role.positions[piece]) for role in run.roles]
        return run.batch(piece, [[images] * views for images in stored])


def _check_size(views: Sequence[View], shape: tuple[int, int, int]) -> None:
    for view in views:
        if isinstance(view, RandomResizedCrop) and (view.size, view.size) != shape[1:]:
            raise LimbeckError(
                f"random_resized_crop makes images of {view.size}x{view.size} pixels, but evaluation is "
                f"at {shape[1]}x{shape[2]}: set its size to the images' own"
            )


def _fingerprint(pixels: UInt8[Tensor, "count channels height width"], members: Members) -> str:
    digest = hashlib.sha256(repr((tuple(pixels.shape), members.id_space)).encode())
    for part in (members.ids, members.labels, pixels.cpu().numpy()):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
