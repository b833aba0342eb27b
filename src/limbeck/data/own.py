"""The splits of a user's own data sets."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.data.choice import Splits
from limbeck.data.passes import Recurrence
from limbeck.data.readers import MapDataset
from limbeck.data.split import stratified_split
from limbeck.data.streamed import StreamedExamples
from limbeck.data.targets import targets_of
from limbeck.errors import LimbeckError

# As in recipes: what is held out does not move with the seed of a run, so that runs can be paired by seed.
SPLIT_SEED = 0


def own_splits(
    train: MapDataset,
    test: MapDataset,
    validation: float | int | MapDataset,
    held_out: float | int,
    workers: int,
    device: torch.device,
    recurrence: Recurrence,
) -> Splits:
    """Give the user's data sets ids, and hold a validation split and more out of the training set.

    Args:
        train: map-style, of (image, label).
        test: the same; never changed at random but by its own transforms.
        validation: how much of `train` is held out, a share or a count, or a data set of its own.
        held_out: how much more is, for methods that weigh their students by it.
        workers: processes that read.
        device: where batches go.
        recurrence: when random views of `train` come again.

    Raises:
        LimbeckError: the labels cannot be read, or cannot be split so.
    """
    if isinstance(held_out, bool) or not isinstance(held_out, int | float) or held_out < 0:
        raise LimbeckError(f"held_out is a share or a number of training examples, not {held_out!r}")
    wrap = partial(StreamedExamples.wrap, workers=workers, device=device)
    kept: NDArray[np.int64] | None = None
    cut: list[StreamedExamples | None] = []
    for count in (validation if isinstance(validation, int | float) else 0, held_out):
        away = None
        if count:
            labels = targets_of(train)
            kept = np.arange(len(labels)) if kept is None else kept
            kept, away = (kept[part] for part in stratified_split(labels[kept], count, SPLIT_SEED))
        cut.append(None if away is None else wrap(train, ids=away))
    part = wrap(train, ids=kept, recurrence=recurrence)
    own = cut[0] if isinstance(validation, int | float) else wrap(validation, classes=part.classes)
    return Splits(part, own, wrap(test, classes=part.classes), cut[1])
