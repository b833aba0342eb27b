"""Images read one by one by worker processes: folders of files, and any data set of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.core.batch import Batch
from limbeck.data.examples import Members, Round, check_labels
from limbeck.data.fetching import Fetch, Fetcher, Loaders
from limbeck.data.mixing import Mixer
from limbeck.data.order import Itinerary, chunks, itinerary, steps_of
from limbeck.data.passes import Pass, Recurrence
from limbeck.data.pipeline import Pipeline
from limbeck.data.readers import DatasetReader, MapDataset, Reader
from limbeck.data.targets import class_names, targets_of
from limbeck.data.views import View
from limbeck.errors import LimbeckError

SAMPLED = 16


class StreamedExamples:
    """Examples that are read when they're needed, by worker processes. See `Examples`.

    Reading gives one image; everything else happens on the device, for a whole batch, by the code that
    resident images take. If images are mixed, a partner is read for each example that has one mixed in, and a
    sibling where the method asks for one: each up to twice the decoding.

    Args:
        reader: reads an image by its id.
        members: which examples these are.
        shape: channels, height and width of what the reader gives.
        identity: for each example something that tells it from another (a path and a size), to make the
            fingerprint of.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        views: random views, on the device.
        mix: how images are mixed, if they are.
        workers: reading processes; 0 reads in this one. The result is the same.
        device: where the batches go.
        recurrence: when views come again.

    Raises:
        LimbeckError: a label is out of range, or there are no examples.
    """

    def __init__(
        self,
        reader: Reader,
        members: Members,
        *,
        shape: tuple[int, int, int],
        identity: Sequence[str],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        views: Sequence[View] = (),
        mix: Mixer | None = None,
        workers: int = 2,
        device: torch.device | str = "cpu",
        recurrence: Recurrence = Recurrence(),  # noqa: B008
    ) -> None:
        check_labels(members.labels, len(members.classes), "the data set")
        self.classes, self.id_space = members.classes, members.id_space
        self.ids, self.labels = members.ids, members.labels
        self.mean, self.std = mean, std
        self.count, self.shape = len(members.ids), shape
        self.fingerprint = _fingerprint(identity, shape, members)
        self._members, self._mix, self._recurrence = members, mix, recurrence
        self._device = torch.device(device)
        self._loaders = Loaders(Fetcher(reader), workers, pinned=self._device.type == "cuda")
        self._pipeline = Pipeline(views, mean, std, self._device)

    @classmethod
    def wrap(
        cls,
        dataset: MapDataset,
        classes: Sequence[str] | None = None,
        *,
        ids: NDArray[np.int64] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        views: Sequence[View] = (),
        mix: Mixer | None = None,
        workers: int = 2,
        device: torch.device | str = "cpu",
        recurrence: Recurrence = Recurrence(),  # noqa: B008
    ) -> StreamedExamples:
        """Stream any map-style data set of (image, label), with its own transforms, which become replayable.

        Float images [C, H, W] are taken as they are. 8-bit tensors [C, H, W] and PIL images are scaled to [0,
        1] and normalised if `mean` and `std` are given. Labels are read from `.targets` if there is one, else
        by a pass over the data set. Its own transforms run in `in_order` too (with fixed seeds), so give data
        to be evaluated on plain ones. The fingerprint knows the labels, the shape and the type of the data
        set, and a few of its images.

        Args:
            dataset: of (image, label); all images have one shape, labels are whole numbers from 0.
            classes: name of each class; otherwise `dataset.classes`, or the numbers.
            ids: the examples of this split, ascending; otherwise all.
            mean: per channel, for 8-bit images.
            std: per channel, for 8-bit images.
            views: more random views, on the device.
            mix: how images are mixed, if they are.
            workers: reading processes; 0 reads in this one.
            device: where the batches go.
            recurrence: when views come again.

        Raises:
            LimbeckError: the data set is empty, a label or an image isn't one, or images differ in shape.
        """
        labels = targets_of(dataset)
        names = class_names(dataset, classes, labels)
        check_labels(labels, len(names), "the data set")
        reader = DatasetReader(dataset, labels)
        if reader.floating and (mean is not None or std is not None):
            raise LimbeckError("mean and std are for 8-bit images, but the data set gives floats: leave them out")
        channels = reader.shape[0]
        chosen = np.arange(len(labels)) if ids is None else ids
        kind = f"{type(dataset).__module__}.{type(dataset).__qualname__}"
        return cls(
            reader,
            Members(chosen, labels[chosen], len(labels), names),
            shape=reader.shape,
            identity=[kind, *_looks(reader, chosen)],
            mean=mean or (0.0,) * channels,
            std=std or (1.0,) * channels,
            views=views,
            mix=mix,
            workers=workers,
            device=device,
            recurrence=recurrence,
        )

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
        return self._rounds(run, route, view_seed, view_epoch, views)

    def in_order(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Iterate over this process's share for evaluation, as `Examples.in_order` says."""
        pieces = chunks(self.count, batch_size, rank, world)
        stream = self._loaders.stream([Fetch.plain(self.ids[piece]) for piece in pieces])
        for piece, pixels in zip(pieces, stream, strict=True):
            ids, labels = (torch.from_numpy(part[piece]).to(self._device) for part in (self.ids, self.labels))
            images = pixels.to(self._device, non_blocking=True)
            yield Batch(ids, (self._pipeline.plain(images),), labels)

    def _rounds(self, run: Pass, route: Itinerary, seed: int, epoch: int, views: int) -> Iterator[Round]:
        flat = [piece for pieces in route.pieces for piece in pieces]
        ids = [self.ids[role.positions.cpu().numpy()] for role in run.roles]
        shown = [(role.first + view, own) for role, own in zip(run.roles, ids, strict=True) for view in range(views)]
        fetches = [Fetch.random(seed, epoch, [(view, own[piece]) for view, own in shown]) for piece in flat]
        images = zip(fetches, self._loaders.stream(fetches), strict=True)
        for pieces, total in zip(route.pieces, route.totals, strict=True):
            yield Round(tuple(self._batch(run, piece, views, *next(images)) for piece in pieces), total)

    def _batch(self, run: Pass, piece: slice, views: int, fetch: Fetch, pixels: Tensor) -> Batch:
        # Role by role, each view's images; what is needed twice was read once.
        places = torch.from_numpy(fetch.places).to(self._device)
        images = pixels.to(self._device, non_blocking=True).index_select(0, places)
        groups = torch.split(images, piece.stop - piece.start)
        return run.batch(piece, [groups[first : first + views] for first in range(0, len(groups), views)])


def _looks(reader: Reader, ids: NDArray[np.int64]) -> list[str]:
    """Return digests of a few images, evenly spread, as they come out of the data set's own transforms."""
    some = ids[np.unique(np.linspace(0, len(ids) - 1, SAMPLED).astype(np.int64))]
    return [hashlib.sha256(reader.read(int(i), 0, None).numpy().tobytes()).hexdigest() for i in some]


def _fingerprint(identity: Sequence[str], shape: tuple[int, int, int], members: Members) -> str:
    digest = hashlib.sha256(repr((shape, members.id_space)).encode())
    for part in (members.ids, members.labels):
        digest.update(np.ascontiguousarray(part).data)
    for text in identity:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()
