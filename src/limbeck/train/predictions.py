"""The answers of a finished run, as its folder keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from limbeck.core.boxes import Found
from limbeck.errors import LimbeckError
from limbeck.plain import check_classifies, predictions_file, recipe_of, task_name
from limbeck.tasks.classification import Predictions


def read_predictions(folder: Path, student: str = "student", which: Literal["last", "best"] = "last") -> Predictions:
    """Return ids, labels and logits on the test set.

    Raises:
        LimbeckError: the file is missing or damaged.
    """
    return _classified(folder, student, "ids", "labels", "best_logits" if which == "best" else "logits")


def read_validation(folder: Path, student: str = "student") -> Predictions:
    """Return ids, labels and logits of the last weights on the validation split.

    Raises:
        LimbeckError: the file is missing or damaged, or the run had no such split.
    """
    return _classified(folder, student, "validation_ids", "validation_labels", "validation_logits")


def read_found(folder: Path, student: str = "student", which: Literal["last", "best"] = "last") -> Found:
    """Return the boxes that a detector found on the test set.

    Raises:
        LimbeckError: the file is missing or damaged, or the run is of another task.
    """
    if task_name(recipe_of(folder)) != "detection":
        raise LimbeckError(f"{folder} finds no boxes, and this looks at boxes: name a run of the task detection")
    before = "best_" if which == "best" else ""
    found = Found(*_read(folder, student, *(f"{before}{name}" for name in Found._fields)))
    if found.boxes.shape[1:] != (4,) or len({len(column) for column in found}) > 1:
        raise LimbeckError(f"{folder / predictions_file(student)} is damaged; remove its folder and train again")
    return found


def _classified(folder: Path, student: str, *columns: str) -> Predictions:
    try:
        return Predictions(*_read(folder, student, *columns))
    except LimbeckError:
        check_classifies(folder)
        raise


def _read(folder: Path, student: str, *columns: str) -> list[NDArray[Any]]:
    path = folder / predictions_file(student)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return [arrays[name] for name in columns]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LimbeckError(f"{path} is missing or damaged; remove its folder and train again") from error
