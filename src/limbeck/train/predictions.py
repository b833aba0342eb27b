"""The answers of a finished run, as its folder keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.plain import predictions_file
from limbeck.tasks.classification import Predictions


def read_predictions(folder: Path, student: str = "student", which: Literal["last", "best"] = "last") -> Predictions:
    """Return ids, labels and logits on the test set.

    Raises:
        LimbeckError: the file is missing or damaged.
    """
    path = folder / predictions_file(student)
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Predictions(arrays["ids"], arrays["labels"], arrays["best_logits" if which == "best" else "logits"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LimbeckError(f"{path} is missing or damaged; remove its folder and train again") from error
