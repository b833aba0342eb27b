"""The interface between data and training: examples with an identity, and their batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from limbeck.core.batch import Batch
from limbeck.errors import LimbeckError


class Round(NamedTuple):
    """What one process needs for one optimiser step.

    Attributes:
        parts: its micro-batches, on its device.
        total: the number of examples that all processes together see in this step.
    """

    parts: tuple[Batch, ...]
    total: int


class Members(NamedTuple):
    """Which examples a split holds.

    Attributes:
        ids: ascending, int64 [N]: index in the source's original training set (or test set).
        labels: int64 [N].
        id_space: 1 + the largest id possible.
        classes: name of each class.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    id_space: int
    classes: tuple[str, ...]


@runtime_checkable
class Examples(Protocol):
    """One split of a data set.

    An example's id never changes; its views are a pure function of (seed, epoch, id, view number).

    Attributes:
        classes: name of each class.
        shape: channels, height and width of what the network sees.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        count: number of examples in this split.
        id_space: 1 + the largest id possible: size of the source's original training set. A test set has ids
            of its own.
        ids: int64 [count], ascending.
        labels: int64 [count], in the order of `ids`.
        fingerprint: sha256 of what the examples are and which of them are in this split.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    count: int
    id_space: int
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    fingerprint: str

    def steps(self, batch_size: int) -> int:
        """Return the number of steps of an epoch."""
        ...

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
        """Iterate over the steps of an epoch, in random order, as random views.

        Args:
            epoch: counts from 0.
            batch_size: examples in a step, over all processes and micro-batches.
            seed: of order and views.
            views: how many views of each example.
            siblings: whether another example of the same class comes with each one.
            rank: which process this is.
            world: how many processes there are.
            parts: micro-batches in a step.
            start: steps to skip; they aren't computed.
            shards: for each process, the number of the shard that its examples come from in every epoch (and the
                partners that are mixed into them); empty where all come from all.

        Raises:
            LimbeckError: the data can't be cut so.
        """
        ...

    def in_order(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Iterate over this process's contiguous share, by ascending id, without random views.

        Over the processes each example comes once; the number of batches may differ by one between them.
        """
        ...


def check_labels(labels: Int64[np.ndarray, " count"], classes: int, where: str) -> None:
    """Check the labels of a data set.

    Raises:
        LimbeckError: there is no example, or a label isn't in 0..classes-1.
    """
    if not len(labels):
        raise LimbeckError(f"{where} is empty: give it at least one example")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        index = int(wrong[0])
        raise LimbeckError(
            f"{where}: the label of example {index} is {labels[index]}, outside 0..{classes - 1}: "
            "number the classes from 0 and name them all"
        )
