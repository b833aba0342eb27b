"""Who comes when: the order of an epoch, cut into batches, processes and micro-batches.

The order depends on (seed, epoch, number of examples) only, and a batch is cut for the processes after it's
drawn: so one process and two see the same batches.

Where examples are to stay on their process or node, they're cut into shards, once and for all, by their number and
the processes alone. Each shard is shuffled by itself, and each batch takes its due of every shard.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        shard: the examples that it may see in any epoch, ascending, int64 [S].
    """

    positions: NDArray[np.int64]
    pieces: list[tuple[slice, ...]]
    totals: list[int]
    shard: NDArray[np.int64]


def permutation(seed: int, epoch: int, n: int, shard: int = 0) -> Int64[np.ndarray, " n"]:
    """Return an order of 0..n-1 that is a pure function of (seed, epoch, n, shard).

    It sorts raw Philox bits: unlike numpy's `Generator.permutation`, they are promised to stay the same in
    all versions.
    """
    key = np.array([seed & _MASK, epoch & _MASK], dtype=np.uint64)
    # the counter's highest word: the streams of two shards never meet
    bits = np.random.Philox(counter=np.array([0, 0, 0, shard], dtype=np.uint64), key=key)
    return np.argsort(bits.random_raw(n), kind="stable").astype(np.int64)


def shard_sizes(n: int, shards: Sequence[int] = ()) -> list[int]:
    """Return how many of `n` examples each shard has: as its share of the processes, rounded up or down.

    Args:
        n: number of examples.
        shards: for each process the number of its shard; empty for one shard of all.
    """
    processes = np.bincount(_numbered(shards, len(shards)))
    ends = n * np.cumsum(processes) // processes.sum()
    return [int(size) for size in np.diff(ends, prepend=0)]


def shard_of(n: int, shards: Sequence[int], rank: int) -> NDArray[np.int64]:
    """Return the examples of a process's shard, as ascending positions in the split.

    They depend on `n` and `shards` alone, not on the run's seed: so what is kept of them outlives a run.

    Args:
        n: number of examples.
        shards: as in `shard_sizes`.
        rank: the process.
    """
    sizes = shard_sizes(n, shards)
    if len(sizes) == 1:
        return np.arange(n)
    number = _numbered(shards, len(shards))[rank]
    first = sum(sizes[:number])
    return np.sort(permutation(_MASK, _MASK, n)[first : first + sizes[number]])


def batch_sizes(sizes: Sequence[int], batch_size: int) -> Int64[np.ndarray, "shards steps"]:
    """Return how many examples each batch of an epoch takes of each shard.

    There are ceil(n / batch_size) batches. Their sizes differ by at most one, and so do what they take of a shard: so
    nobody is dropped or seen twice, and no tiny last batch upsets batch statistics.

    Raises:
        LimbeckError: the batch is larger than the data.
    """
    n = sum(sizes)
    if batch_size < 1:
        raise LimbeckError(f"batch_size {batch_size} must be at least 1: set it to a positive number")
    if batch_size > n:
        raise LimbeckError(f"batch_size {batch_size} is larger than the {n} training examples: set it to {n} or less")
    steps = steps_of(n, batch_size)
    each, over = np.divmod(np.asarray(sizes, np.int64), steps)
    # what is left over of one shard goes on where that of the one before ended, round and round
    begin = np.cumsum(over) - over
    due: NDArray[np.int64] = each[:, None] + ((np.arange(steps) - begin[:, None]) % steps < over[:, None])
    return due


def steps_of(n: int, batch_size: int) -> int:
    """Return the number of steps of an epoch of `n` examples."""
    return -(-n // batch_size)


def share(batch: Int64[np.ndarray, " n"], rank: int, world: int, parts: int) -> list[NDArray[np.int64]]:
    """Cut this process's share of a batch into `parts` micro-batches whose sizes differ by at most one."""
    return np.array_split(batch[rank::world], parts)


def itinerary(
    n: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int,
    world: int,
    parts: int,
    start: int,
    shards: Sequence[int] = (),
) -> Itinerary:
    """Plan the steps of an epoch from step `start` on, for one process.

    Raises:
        LimbeckError: as `batch_sizes`; some process would get an empty micro-batch (all processes raise alike, so none
            waits for another); `start` lies beyond the epoch.
    """
    numbers = _numbered(shards, world)
    sizes = batch_sizes(shard_sizes(n, shards), batch_size)
    totals = [int(total) for total in sizes.sum(0)]
    if not 0 <= start <= len(totals):
        raise LimbeckError(
            f"can't resume at step {start} of an epoch of {len(totals)} steps: "
            "restore the batch_size and the data of the interrupted run"
        )
    if (sizes // np.bincount(numbers)[:, None]).min() < parts:
        raise LimbeckError(
            f"a batch of {min(totals)} examples can't serve {world} process(es) with {parts} micro-batch(es) "
            f"each: use fewer of them, or a batch_size of at least {world * parts}"
        )
    number = numbers[rank]
    shard = shard_of(n, shards, rank)
    order = shard[permutation(seed, epoch, len(shard), int(number))]
    batches = np.split(order, np.cumsum(sizes[number])[:-1])
    place, neighbours = int((numbers[:rank] == number).sum()), int((numbers == number).sum())
    positions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    pieces: list[tuple[slice, ...]] = []
    done = 0
    for batch in batches[start:]:
        mine = share(batch, place, neighbours, parts)
        ends = np.cumsum([len(part) for part in mine]) + done
        pieces.append(tuple(slice(int(end) - len(part), int(end)) for part, end in zip(mine, ends, strict=True)))
        positions.extend(mine)
        done = int(ends[-1])
    return Itinerary(np.concatenate(positions), pieces, totals[start:], shard)


def chunks(n: int, batch_size: int, rank: int, world: int) -> list[slice]:
    """Cut this process's contiguous share of 0..n-1 into slices of at most `batch_size`, for evaluation.

    Raises:
        LimbeckError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise LimbeckError(f"batch_size {batch_size} must be at least 1: set it to a positive number")
    first, last = (n * rank) // world, (n * (rank + 1)) // world
    return [slice(begin, min(begin + batch_size, last)) for begin in range(first, last, batch_size)]


def _numbered(shards: Sequence[int], world: int) -> NDArray[np.int64]:
    """Return each process's shard, numbered from 0."""
    if not shards:
        return np.zeros(max(world, 1), np.int64)
    return np.unique(np.asarray(shards), return_inverse=True)[1].astype(np.int64)
