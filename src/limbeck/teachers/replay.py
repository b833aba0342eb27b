"""A teacher that is asked once about every view, and whose answer is replayed whenever that view comes again.

A row is filed under (epoch mod cycle, view number, example id). At the first step of an epoch it is decided for the
whole epoch, on all processes alike: where every row of the split is there, they are replayed; otherwise the teacher
answers, and what is not there yet is recorded. What is recorded is handed on as it will be replayed, so a run does not
depend on who filled the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.core.batch import Batch, Clock, Output, View
from limbeck.core.config import fields_of
from limbeck.core.roles import Teacher
from limbeck.data.examples import Examples
from limbeck.data.load import Data
from limbeck.errors import LimbeckError
from limbeck.memory.answers import Answers
from limbeck.memory.formats import Format
from limbeck.memory.homes import Landing
from limbeck.memory.logits import logits_format
from limbeck.memory.processes import agreed, everywhere
from limbeck.memory.sizes import answers_layout
from limbeck.teachers.teacher import Teacher as Network
from limbeck.teachers.teacher import TeacherChoice


class ReplayedTeacher:
    """A teacher with a cache; a `RecordedTeacher`.

    Args:
        teacher: who answers what is not recorded yet.
        folder: of the cache.
        ids: of the training examples, ascending.
        classes: how many there are.
        cycle: epochs after which views come again.
        format: of a row.
        about: what else the answers depend on, as plain values by name; a cache where one differs is refused.
        views: how many views of an example a batch has.

    Raises:
        LimbeckError: the folder holds other answers, or the disk is too small.
    """

    def __init__(
        self,
        teacher: Teacher,
        folder: Path,
        ids: NDArray[np.int64],
        classes: int,
        cycle: int,
        format: Format,
        about: Mapping[str, Any],
        views: int = 1,
    ) -> None:
        self.teacher, self.cycle, self.views = teacher, cycle, views
        layout = answers_layout(len(ids) * views, classes, cycle, format)
        self.answers = Answers(folder, layout, {**about, "cycle": cycle, "views of an example": views})
        self._ids = torch.from_numpy(ids)
        self._epoch: int | None = None
        self._replays = False
        self._landing: Landing | None = None
        self._landing_in = (0, 0)

    @property
    def complete(self) -> bool:
        """Whether all answers are there, so that the teacher is never asked."""
        return all(self.answers.complete(turn) for turn in range(self.cycle))

    def __call__(self, view: View, like: Output | None = None) -> Output:
        """Ask the teacher itself, and record nothing."""
        return self.teacher(view) if like is None else self.teacher(view, like)

    @torch.no_grad()
    def on(self, batch: Batch, number: int, clock: Clock) -> Output:
        """Return the answer to view `number` of a batch: logits float32 [B, K].

        Raises:
            LimbeckError: an example or a view that the cache has no row for; a damaged row; files that cannot be
                written.
        """
        turn = clock.epoch % self.cycle
        if clock.epoch != self._epoch:
            self._land()
            self._epoch, self._replays = clock.epoch, everywhere(self.answers.complete(turn))
        layout = self.answers.layout
        if self._replays:
            device = batch.ids.device
            found = self.answers.gather(turn, self._rows(batch.ids, number))
            if device.type == "cuda":
                found = tuple(part.pin_memory() for part in found)
            found = tuple(part.to(device, non_blocking=True) for part in found)
            return Output(layout.format.decode(found, layout.classes))
        parts = self._encoded(batch.views[number])
        self._record(turn, number, batch.ids, parts)
        return Output(layout.format.decode(parts, layout.classes))

    @torch.no_grad()
    def fill(self, batch: Batch, number: int, epoch: int) -> None:
        """Record view `number` of a batch, if any of its rows is not there yet; processes need not do so alike."""
        turn = epoch % self.cycle
        if bool(self.answers.missing(turn, self._rows(batch.ids, number)).any()):
            self._record(turn, number, batch.ids, self._encoded(batch.views[number]))

    def after_epoch(self) -> None:
        """Make what was recorded durable. A collective.

        Raises:
            LimbeckError: on every process, that files cannot be written on any.
        """

        def finish() -> None:
            self._land()
            self.answers.commit()

        agreed(finish)

    def _encoded(self, view: View) -> tuple[Tensor, ...]:
        return self.answers.layout.format.encode(self.teacher(view).logits.float())

    def _record(self, turn: int, number: int, ids: Tensor, parts: tuple[Tensor, ...]) -> None:
        """Write rows; those of a GPU are on their way until the next call."""
        self._land()
        if ids.device.type == "cuda":
            self._landing, self._landing_in = Landing(ids, parts), (turn, number)
            return
        self.answers.scatter(turn, self._rows(ids, number), tuple(part.cpu() for part in parts))

    def _land(self) -> None:
        if self._landing is not None:
            ids, parts = self._landing.landed()
            self._landing = None
            turn, number = self._landing_in
            self.answers.scatter(turn, self._rows(ids, number), parts)

    def _rows(self, ids: Int[Tensor, " batch"], number: int) -> Int[Tensor, " batch"]:
        """Return where the rows of these examples are, on the host."""
        if number >= self.views:
            raise LimbeckError(
                f"the teacher's cache has rows for {self.views} view(s) of an example, not for {number + 1}"
            )
        here = ids.cpu()
        places = torch.searchsorted(self._ids, here)
        known = self._ids[places.clamp_max(len(self._ids) - 1)] == here
        if not bool(known.all()):
            raise LimbeckError(
                f"the teacher's cache has no row for example {int(here[~known][0])}, which is not in the training split"
            )
        return places + number * len(self._ids)


def check_recurrence(data: Data, shuffle: str) -> None:
    """Check that views come again, which a teacher's cache replays answers to.

    Raises:
        ValueError: they do not.
    """
    if data.view_seed is None or data.cycle is None:
        raise ValueError("teacher.cache replays answers to views that come again: set data.view_seed and data.cycle")
    if data.mix is not None and shuffle != "global":
        raise ValueError(
            f"training.shuffle {shuffle} mixes other pairs on another number of processes, and teacher.cache replays "
            "answers to pairs: set training.shuffle to global, or data.mix to null"
        )


def replayed(
    choice: TeacherChoice, teacher: Network, data: Data, train: Examples, precision: str, views: int
) -> ReplayedTeacher:
    """Return the teacher of a recipe with its cache, which holds so many views of each example.

    Raises:
        LimbeckError: the cache holds other answers, or the disk is too small.
    """
    assert choice.cache is not None
    assert data.cycle is not None
    recipe = fields_of(data)
    drawn = {name: recipe[name] for name in ("views", "mix", "view_seed")}
    form = logits_format(choice.cache_dtype, choice.cache_top_k)
    return with_cache(teacher, Path(choice.cache), form, train, precision, data.cycle, drawn, views)


def with_cache(
    teacher: Network,
    folder: Path,
    format: Format,
    train: Examples,
    precision: str,
    cycle: int,
    drawn: Mapping[str, Any],
    views: int,
) -> ReplayedTeacher:
    """Return a teacher with a cache.

    Args:
        teacher: who answers what is not recorded yet.
        folder: of the cache.
        format: of a row.
        train: the examples.
        precision: of the teacher's forward.
        cycle: epochs after which views come again.
        drawn: what the views depend on beside the examples, as plain values by name.
        views: how many of an example a batch has.

    Raises:
        LimbeckError: the cache holds other answers, or the disk is too small.
    """
    about = {
        "teacher": teacher.fingerprint(),
        "training data": train.fingerprint,
        "size": train.shape,
        "normalisation": [train.mean, train.std],
        **drawn,
        "precision": precision,
    }
    return ReplayedTeacher(teacher, folder, train.ids, len(train.classes), cycle, format, about, views)
