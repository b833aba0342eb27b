"""The picture of over-fitting: training error, test error, and how much answers differ among the images of a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from limbeck import files
from limbeck.analysis.confidence import probabilities
from limbeck.analysis.spread import class_spread
from limbeck.errors import LimbeckError
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import COLOURS, numbers_file, plain, sections, write_html
from limbeck.report.students import check_same_test, label_of, path_of, read_students
from limbeck.train.predictions import read_predictions
from limbeck.train.record import read

KEYS = ("spread", "training_error", "test_error", "gap")
ABOUT = (
    "Spread: the standard deviation of the probability of the true class over the test images of a class, averaged "
    "over the classes (last weights). It is 0 where a network says the same of all images of a class, and at most 0.5.",
    "The training error is that of the last epoch, counted while training: on random views, with the weights of each "
    "step. The gap is the test error less the training error. Of an ensemble nobody counts a training error, unless "
    "it is trained as such.",
)


class Measured(NamedTuple):
    """One network.

    Attributes:
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        values: those of `KEYS` that there are, unscaled.
    """

    path: str
    label: str
    values: dict[str, float]


def write_spread(runs: Sequence[Path], out: Path) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: finished runs that were tested on the same images.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.

    Raises:
        LimbeckError: no finished runs, damaged files, different test sets, a name that is no page's.
    """
    numbers = numbers_file(out)
    found = [one for run in runs for one in measure(run)]
    check_same_test([students[0] for students in map(read_students, runs)])
    rows = [_row(one) for one in found]
    values: dict[str, Any] = {"paragraphs": ABOUT, "drawings": sections(_drawings(found)), "rows": rows}
    write_html(out, "analysis.html", title="Spread and over-fitting", **values)
    files.write(numbers, csv(found))
    return rows


def measure(run: Path) -> list[Measured]:
    """Return what there is of each of a finished run's students, and of several of their ensemble.

    Raises:
        LimbeckError: the folder is no finished run's, or it is damaged.
    """
    students, history = read_students(run), read(run / "metrics.jsonl")
    measured = []
    for i, student in enumerate(students):
        said = read_predictions(run, student.student)
        values = {"spread": float(np.nanmean(class_spread(probabilities(said.logits), said.labels)))}
        trained = history[-1].get("error" if len(students) == 1 else f"error/{i}") if history else None
        if trained is not None:
            values["training_error"] = trained
        values["test_error"] = _test_error(student)
        if trained is not None:
            values["gap"] = values["test_error"] - trained
        measured.append(Measured(path_of(student), label_of(student), values))
    return measured


def _test_error(student: FinishedRun) -> float:
    try:
        return student.results["last"]["error"]
    except (KeyError, TypeError) as error:
        raise LimbeckError(
            f"{student.folder / 'results.json'} is damaged; remove its folder and train again"
        ) from error


def _row(one: Measured) -> dict[str, str]:
    """Return a network's values as printed."""
    row = {"network": one.label, "mean per-class std": f"{one.values['spread']:.4f}"}
    shown = {"training_error": "training error %", "test_error": "test error %", "gap": "gap"}
    return row | {name: f"{100 * one.values[key]:.2f}" if key in one.values else "–" for key, name in shown.items()}


def csv(found: Sequence[Measured]) -> str:
    """Return every network's values, unrounded, a line each."""
    import pandas as pd

    return str(
        pd.DataFrame([{"network": one.path, **one.values} for one in found], columns=["network", *KEYS]).to_csv(
            index=False
        )
    )


def _drawings(found: Sequence[Measured]) -> list[go.Figure]:
    """Draw both errors and the spread, a group of bars for each network."""
    names = [plain(one.label) for one in found]
    errors = go.Figure(layout={"title": "Training error and test error", "barmode": "group"})
    for key, name, colour in (("training_error", "training", COLOURS[1]), ("test_error", "test", COLOURS[0])):
        shares = [one.values.get(key) for one in found]
        heights = [None if share is None else 100 * share for share in shares]
        errors.add_bar(x=names, y=heights, name=name, marker={"color": colour})
    errors.update_yaxes(title="error %", rangemode="tozero")
    spread = go.Figure(layout={"title": "Spread: mean per-class standard deviation of the true class's probability"})
    spread.add_bar(x=names, y=[one.values["spread"] for one in found], marker={"color": COLOURS[0]})
    spread.update_yaxes(title="standard deviation", rangemode="tozero")
    return [errors, spread]
