"""Fixed splits: which examples are kept and which are held out, every class in its proportion."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from limbeck.data.order import permutation
from limbeck.errors import LimbeckError

# No epoch has this number: the choice of a split shares no bits with the order of an epoch.
_SPLIT = (1 << 64) - 1


def stratified_split(
    labels: Int64[np.ndarray, " n"], held_out: float | int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold examples out, each class in its proportion (largest remainder), by seed.

    Args:
        labels: int64 [n].
        held_out: a share of the examples (float below 1), or how many (int).
        seed: the choice is a pure function of (labels, held_out, seed).

    Returns:
        The ids that are kept and those held out, both ascending.

    Raises:
        LimbeckError: a class would have no example on one of the sides.
    """
    count = held_out if isinstance(held_out, int) else round(held_out * len(labels))
    if not 0 < count < len(labels):
        raise LimbeckError(
            f"can't hold {count} of {len(labels)} training examples out: hold out at least one and keep at least one"
        )
    chosen, quotas, sizes = _choose(labels, count, seed)
    for label in np.flatnonzero(sizes):
        if quotas[label] in (0, sizes[label]):
            side = "held out" if quotas[label] == 0 else "kept"
            raise LimbeckError(
                f"no example of class {label} would be {side}: it has {sizes[label]} of the {len(labels)} "
                f"training examples and {count} are held out; change how many, or hold none out"
            )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_subset(labels: Int64[np.ndarray, " n"], count: int, seed: int) -> NDArray[np.int64]:
    """Choose `count` examples, each class in its proportion (largest remainder), by seed.

    Returns:
        Their positions, ascending.

    Raises:
        LimbeckError: there aren't so many, or a class would have none.
    """
    if not 0 < count <= len(labels):
        raise LimbeckError(f"can't choose {count} of {len(labels)} training examples: ask for 1 to {len(labels)}")
    chosen, quotas, sizes = _choose(labels, count, seed)
    for label in np.flatnonzero(sizes):
        if quotas[label] == 0:
            raise LimbeckError(
                f"a subset of {count} training examples would have none of class {label}: ask for more examples"
            )
    return np.flatnonzero(chosen)


def _choose(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Return who is chosen, and how many are chosen and exist of each class."""
    sizes = np.bincount(labels)
    # Integers throughout: a rounding error must not move an example to the other side.
    quotas, remainders = np.divmod(sizes * count, len(labels))
    largest = np.argsort(-remainders, kind="stable")
    quotas[largest[: count - quotas.sum()]] += 1
    order = permutation(seed, _SPLIT, len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[by_class[rank_in_class < np.repeat(quotas, sizes)]] = True
    return chosen, quotas, sizes
