"""Who comes when: the order of an epoch, cut into batches, processes and micro-batches.

The order depends on (seed, epoch, number of examples) only, and a batch is cut for the processes after it's
drawn: so one process and two see the same batches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from limbeck.errors import LimbeckError

_MASK = (1 << 64) - 1


class Itinerary(NamedTuple):
    """What one process does in an epoch, or in what is left of it.

    Attributes:
        positions: the examples it sees, in the order of use, as positions in the split, int64 [M].
        pieces: for each step its micro-batches, as slices of `positions`.
        totals: for each step the number of examples that all processes together see.
    """

    positions: NDArray[np.int64]
    pieces: list[tuple[slice, ...]]
    totals: list[int]


def permutation(seed: int, epoch: int, n: int) -> Int64[np.ndarray, " n"]:
    """Return an order of 0..n-1 that is a pure function of (seed, epoch, n).

    It sorts raw Philox bits: unlike numpy's `Generator.permutation`, they are promised to stay the same in
    all versions.
    """
    bits = np.random.Philox(key=np.array([seed & _MASK, epoch & _MASK], dtype=np.uint64))
    return np.argsort(bits.random_raw(n), kind="stable").astype(np.int64)


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Cut the order of an epoch into ceil(n / batch_size) batches whose sizes differ by at most one.

    So nobody is dropped or seen twice, and no tiny last batch upsets batch statistics.

    Raises:
        LimbeckError: the batch is larger than the data.
    """
    if batch_size < 1:
        raise LimbeckError(f"batch_size {batch_size} must be at least 1: set it to a positive number")
    if batch_size > n:
        raise LimbeckError(f"batch_size {batch_size} is larger than the {n} training examples: set it to {n} or less")
    return np.array_split(permutation(seed, epoch, n), steps_of(n, batch_size))


def steps_of(n: int, batch_size: int) -> int:
    """Return the number of steps of an epoch of `n` examples."""
    return -(-n // batch_size)


def share(batch: Int64[np.ndarray, " n"], rank: int, world: int, parts: int) -> list[NDArray[np.int64]]:
    """Cut this process's share of a batch into `parts` micro-batches whose sizes differ by at most one.

    Raises:
        LimbeckError: some process would get an empty micro-batch (all processes raise alike, so none waits
            for another).
    """
    if len(batch) // world < parts:
        raise LimbeckError(
            f"a batch of {len(batch)} examples can't serve {world} process(es) with {parts} micro-batch(es) "
            f"each: use fewer of them, or a batch_size of at least {world * parts}"
        )
    return np.array_split(batch[rank::world], parts)


def itinerary(
    n: int, *, batch_size: int, seed: int, epoch: int, rank: int, world: int, parts: int, start: int
) -> Itinerary:
    """Plan the steps of an epoch from step `start` on, for one process.

    Raises:
        LimbeckError: as `epoch_batches` and `share`; `start` lies beyond the epoch.
    """
    batches = epoch_batches(n, batch_size, seed, epoch)
    if not 0 <= start <= len(batches):
        raise LimbeckError(
            f"can't resume at step {start} of an epoch of {len(batches)} steps: "
            "restore the batch_size and the data of the interrupted run"
        )
    positions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    pieces: list[tuple[slice, ...]] = []
    done = 0
    for batch in batches[start:]:
        mine = share(batch, rank, world, parts)
        ends = np.cumsum([len(part) for part in mine]) + done
        pieces.append(tuple(slice(int(end) - len(part), int(end)) for part, end in zip(mine, ends, strict=True)))
        positions.extend(mine)
        done = int(ends[-1])
    return Itinerary(np.concatenate(positions), pieces, [len(batch) for batch in batches[start:]])


def chunks(n: int, batch_size: int, rank: int, world: int) -> list[slice]:
    """Cut this process's contiguous share of 0..n-1 into slices of at most `batch_size`, for evaluation.

    Raises:
        LimbeckError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise LimbeckError(f"batch_size {batch_size} must be at least 1: set it to a positive number")
    first, last = (n * rank) // world, (n * (rank + 1)) // world
    return [slice(begin, min(begin + batch_size, last)) for begin in range(first, last, batch_size)]
