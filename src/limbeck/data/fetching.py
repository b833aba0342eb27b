"""Reading in worker processes: what travels to them, and what comes back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from limbeck.data import draws
from limbeck.data.readers import Reader
from limbeck.errors import LimbeckError

_Answer = TypeVar("_Answer")


class Fetch(NamedTuple):
    """The readings of one micro-batch, each by its address (seed, epoch, id, view): any worker may do them.

    Attributes:
        seed: of the random readings; None reads without randomness.
        epoch: counts from 0.
        keys: what to read, (view, id), int64 [R, 2]; no key twice.
        places: where in the readings each image that is needed lies, int64 [M].
    """

    seed: int | None
    epoch: int
    keys: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def plain(cls, ids: NDArray[np.int64]) -> Fetch:
        """Ask for images without randomness."""
        return cls(None, 0, np.stack((np.zeros_like(ids), ids), axis=1), np.arange(len(ids)))

    @classmethod
    def random(cls, seed: int, epoch: int, wanted: Sequence[tuple[int, NDArray[np.int64]]]) -> Fetch:
        """Ask for groups of images in this order: of each, the number of the view and the ids."""
        asked = np.concatenate([np.stack((np.full_like(ids, view), ids), axis=1) for view, ids in wanted])
        keys, places = np.unique(asked, axis=0, return_inverse=True)
        return cls(seed, epoch, keys, places.reshape(-1))


class Fetcher(Dataset["Tensor | LimbeckError"]):
    """Answers a `Fetch` by a stack of images, in a worker process or in this one."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, fetch: Fetch) -> Tensor | LimbeckError:
        """Read the images [R, C, H, W].

        A user's mistake is returned: raised in a worker, it would arrive wrapped in a traceback.
        """
        try:
            return torch.stack(self._read(fetch))
        except LimbeckError as error:
            return error

    def _read(self, fetch: Fetch) -> list[Tensor]:
        """Read one image after the other, all views of each, so that it is decoded once and no two are held."""
        drawn = [numbers for view in np.unique(fetch.keys[:, 0]) for numbers in self._draw(fetch, int(view))]
        images: dict[int, Tensor] = {}
        example, opened = -1, None
        for place in np.argsort(fetch.keys[:, 1], kind="stable").tolist():
            if fetch.keys[place, 1] != example:
                example = int(fetch.keys[place, 1])
                opened = self._reader.opened(example)
            word, numbers = drawn[place]
            images[place] = self._reader.read(example, word, numbers, opened)
        return [images[place] for place in range(len(drawn))]

    def _draw(self, fetch: Fetch, view: int) -> Iterator[tuple[int, Tensor | None]]:
        """Return the random bits and numbers of one view's readings."""
        ids = torch.from_numpy(fetch.keys[fetch.keys[:, 0] == view, 1])
        words = draws.words(fetch.seed or 0, fetch.epoch, view, ids, stream=draws.DATASET).tolist()
        numbers: Tensor | list[None] = [None] * len(ids)
        if fetch.seed is not None:
            slots = self._reader.slots
            numbers = draws.uniform(fetch.seed, fetch.epoch, view, ids, slots, stream=draws.SIZE)
        return zip(words, numbers, strict=True)


class Queue(Sampler[Any]):
    """Hands a loader what to fetch next; filled before each pass."""

    def __init__(self) -> None:
        self.fetches: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetches)


class Loaders(Generic[_Answer]):
    """Loaders of one data set, whose worker processes stay alive between passes; each pass has one to itself.

    Args:
        fetcher: what runs in the workers: it gives an answer to what it is asked, or returns a user's mistake.
        workers: how many processes a loader has; 0 fetches in this one.
        pinned: whether images are put in page-locked memory, from which a GPU copies faster.
    """

    def __init__(self, fetcher: Dataset[_Answer | LimbeckError], workers: int, pinned: bool) -> None:
        self._fetcher, self._workers, self._pinned = fetcher, workers, pinned
        self._all: list[tuple[DataLoader[Any], Queue]] = []
        self._idle: list[tuple[DataLoader[Any], Queue]] = []
        # A loader that the garbage collector finds in a cycle loses its queues before it can tell its workers to
        # stop, and waits 5 s for each; these references outlive that, since the finaliser holds them.
        weakref.finalize(self, self._all.clear)

    def stream(self, fetches: list[Any]) -> Iterator[_Answer]:
        """Fetch in order; passes may be interleaved, and left before their end.

        Raises:
            LimbeckError: something can't be read.
        """
        loader, queue = self._idle.pop() if self._idle else self._new()
        queue.fetches = fetches
        try:
            for answer in loader:
                if isinstance(answer, LimbeckError):
                    raise answer
                yield answer
        finally:
            self._idle.append((loader, queue))

    def _new(self) -> tuple[DataLoader[Any], Queue]:
        queue = Queue()
        loader: DataLoader[Any] = DataLoader(
            self._fetcher,
            batch_size=None,
            sampler=queue,
            num_workers=self._workers,
            pin_memory=self._pinned,
            persistent_workers=self._workers > 0,
            worker_init_fn=_settle,
            # Its own: a loader draws from the global generator otherwise.
            generator=torch.Generator(),
        )
        self._all.append((loader, queue))
        return loader, queue


def _settle(worker: int) -> None:
    """Keep a new worker from collecting what it inherited: other loaders' workers aren't its to stop."""
    gc.freeze()
