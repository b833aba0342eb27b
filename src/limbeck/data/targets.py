"""Labels and class names of a user's own data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.readers import MapDataset, pair, seeded
from limbeck.errors import LimbeckError


def targets_of(dataset: MapDataset) -> NDArray[np.int64]:
    """Read the labels, int64 [N]: from `.targets` if there is one, else by a pass over the data set.

    Raises:
        LimbeckError: there is no example, a label isn't a whole number, or there are more or fewer than
            examples.
    """
    count = len(dataset)
    if not count:
        raise LimbeckError("the data set is empty: give it at least one example")
    targets = getattr(dataset, "targets", None)
    if targets is None:
        with seeded(0):
            targets = [pair(dataset, index)[1] for index in range(count)]
    elif len(targets) != count:
        raise LimbeckError(f"the data set has {count} examples but {len(targets)} .targets: make them agree")
    if isinstance(targets, Tensor | np.ndarray):
        targets = targets.tolist()
    return np.array([_whole(label, index) for index, label in enumerate(targets)], dtype=np.int64)


def class_names(dataset: MapDataset, classes: Sequence[str] | None, labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the classes' names: those given, or the data set's own, or numbers.

    Raises:
        LimbeckError: there are fewer than two classes.
    """
    named = classes if classes is not None else getattr(dataset, "classes", None)
    names = tuple(map(str, range(int(labels.max()) + 1))) if named is None else tuple(map(str, named))
    if len(names) < 2:
        raise LimbeckError("the data set has only one class: there is nothing to learn from it")
    return names


def _whole(label: Any, index: int) -> int:
    if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise LimbeckError(
            f"the label of example {index} of the data set is {label!r}, not a whole number: number the classes from 0"
        )
    return int(label)
