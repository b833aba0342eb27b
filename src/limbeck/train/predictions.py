"""The answers of a finished run, as its folder keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.plain import check_classifies, predictions_file
from limbeck.tasks.classification import Predictions


def read_predictions(folder: Path, student: str = "student", which: Literal["last", "best"] = "last") -> Predictions:
    """Return ids, labels and logits on the test set.

    Raises:
        LimbeckError: the file is missing or damaged.
    """
    return _read(folder, student, "ids", "labels", "best_logits" if which == "best" else "logits")


def read_validation(folder: Path, student: str = "student") -> Predictions:
    """Return ids, labels and logits of the last weights on the validation split.

    Raises:
        LimbeckError: the file is missing or damaged, or the run had no such split.
    """
    return _read(folder, student, "validation_ids", "validation_labels", "validation_logits")


def _read(folder: Path, student: str, *columns: str) -> Predictions:
    path = folder / predictions_file(student)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Predictions(*(arrays[name] for name in columns))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        check_classifies(folder)
        raise LimbeckError(f"{path} is missing or damaged; remove its folder and train again") from error
