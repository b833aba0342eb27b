"""Weights from along a training, kept for whoever learns from them: of given epochs, and of given accuracies.

A mark names one: `epoch-5` is after five epochs, `accuracy-0.7` after the first epoch in which the student's accuracy
on the validation split reached 0.7. They are written before the epoch's line in metrics.jsonl, so where the line is the
file was; what a run did not keep is found by the line, and made up by training that much again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import torch as safetensors
from torch import Tensor

from limbeck import files
from limbeck.core.cohort import Cohort
from limbeck.errors import LimbeckError
from limbeck.train.record import read

_MARK = re.compile(r"(?:epoch-([1-9]\d*)|accuracy-(0|1|[01]?\.\d+|[01]\.\d*|\d+e-\d+))", re.ASCII)


class Mark(NamedTuple):
    """A place along a training: exactly one of both.

    Attributes:
        epoch: after so many.
        accuracy: after the first epoch that reaches it on the validation split.
    """

    epoch: int | None = None
    accuracy: float | None = None

    def __str__(self) -> str:
        """Return how files and recipes call it."""
        return f"epoch-{self.epoch}" if self.epoch is not None else f"accuracy-{self.accuracy:.12g}"


def read_mark(text: str) -> Mark | None:
    """Return the mark that a text names, or None."""
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    if found[1]:
        return Mark(epoch=int(found[1]))
    accuracy = float(found[2])
    return Mark(accuracy=accuracy) if accuracy <= 1 else None


def marks(epochs: Sequence[int], accuracies: Sequence[float]) -> list[Mark]:
    """Return the marks of a recipe's `keep_epochs` and `keep_accuracies`."""
    return [*(Mark(epoch=epoch) for epoch in epochs), *(Mark(accuracy=accuracy) for accuracy in accuracies)]


def errors_of(line: Mapping[str, Any], students: int) -> list[float]:
    """Return each student's error on the validation split in a line of metrics.jsonl; nothing where none was read."""
    names = ["validation/error"] if students == 1 else [f"validation/{i}/error" for i in range(students)]
    return [line[name] for name in names if name in line]


def within(error: float, accuracy: float) -> bool:
    """Say whether an error is the accuracy or better."""
    # as the error was made from the accuracy: 1 - (1 - a) need not be a
    return error <= 1 - accuracy


def reached(values: Mapping[str, float], accuracy: float | None) -> bool:
    """Say whether every student's accuracy on the validation split is what was asked for."""
    errors = [value for name, value in values.items() if name.startswith("validation") and name.endswith("/error")]
    return accuracy is not None and all(within(error, accuracy) for error in errors)


def never_reached(name: str, accuracy: float, epochs: int, lowest: Sequence[float]) -> LimbeckError:
    """Return the error of a training that should have ended at an accuracy, given each student's lowest error."""
    whose = "its best was" if len(lowest) == 1 else "all students have to in one epoch, and one's best was"
    return LimbeckError(
        f"{name} never reached training.stop_accuracy {accuracy:g} on the validation split in {epochs} epochs; "
        f"{whose} {1 - max(lowest):.4g}: lower stop_accuracy or train longer, in a new folder"
    )


def epoch_of(mark: Mark, history: Sequence[Mapping[str, Any]], student: int, students: int) -> int | None:
    """Return after which epoch a student was at a mark, by the lines of metrics.jsonl; None where it was not."""
    if mark.epoch is not None:
        return mark.epoch if any(line["epoch"] == mark.epoch for line in history) else None
    assert mark.accuracy is not None
    for line in history:
        errors = errors_of(line, students)
        if errors and within(errors[student], mark.accuracy):
            return int(line["epoch"])
    return None


def kept_file(folder: Path, student: str, mark: Mark) -> Path:
    """Return where the weights of a student at a mark are."""
    return folder / f"{student}-{mark}.safetensors"


class Keep:
    """Writes the weights of each student when it is at a mark.

    Args:
        marks: where.
        folder: of the weights, or None on a process that writes nothing.
        names: of the students.
        about: returns what the weights file of a student says beside its weights.
        known: for each student the epochs of its marks, where they are known beforehand; without it they are found in
            the lines of metrics.jsonl.
    """

    def __init__(
        self,
        marks: Sequence[Mark],
        folder: Path | None,
        names: Sequence[str],
        about: Callable[[int], Mapping[str, Any]],
        known: Sequence[Mapping[Mark, int]] | None = None,
    ) -> None:
        self.marks, self.folder, self.names, self.about, self.known = marks, folder, names, about, known

    def look(self, epoch: int, values: Mapping[str, float], cohort: Cohort) -> None:
        """Write what is to be kept of the epoch that has just ended (counted from 1), before its line is."""
        if self.folder is None or not self.marks:
            return
        lines = [] if self.known is not None else read(self.folder / "metrics.jsonl")
        history = [*(line for line in lines if line["epoch"] < epoch), {"epoch": epoch, **values}]
        for i, name in enumerate(self.names):
            for mark in self.marks:
                known = None if self.known is None else self.known[i].get(mark)
                if epoch == (known if self.known is not None else epoch_of(mark, history, i, len(self.names))):
                    weights = cohort.alone(i).state_dict()
                    write_weights(kept_file(self.folder, name, mark), weights, self.about(i))


def missing(marks: Sequence[Mark], folder: Path, names: Sequence[str]) -> list[dict[Mark, int]]:
    """Return for each student the marks that a training has passed without keeping its weights, with their epochs."""
    history = read(folder / "metrics.jsonl")
    found: list[dict[Mark, int]] = []
    for i, name in enumerate(names):
        passed = {mark: epoch_of(mark, history, i, len(names)) for mark in marks}
        found.append(
            {m: epoch for m, epoch in passed.items() if epoch is not None and not kept_file(folder, name, m).exists()}
        )
    return found


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights as a safetensors file, with what the network was trained on."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    files.write(path, safetensors.save(tensors, {"limbeck": json.dumps(dict(about))}))
