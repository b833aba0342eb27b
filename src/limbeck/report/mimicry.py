"""The picture of mimicry: how far students are from their teachers, and how often they are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from torch import nn

from limbeck import files
from limbeck.analysis.mimicry import Mimicry, mimicry
from limbeck.core.batch import Output
from limbeck.core.cohort import Peers
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.recipes.rerun import test_examples, train_examples, trained
from limbeck.report.drawing import COLOURS, numbers_file, plain, sections, write_html
from limbeck.report.students import label_of, path_of, read_students
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.lineage import teacher_of
from limbeck.teachers.teacher import Inputs, Teacher, load_teacher
from limbeck.train.evaluation import predictions
from limbeck.train.runtime import Runtime

COLUMNS = {
    "kd_loss": ("KD loss", 1, 4),
    "cross_entropy": ("CE", 1, 3),
    "error": ("error %", 100, 2),
    "teacher_error": ("teacher's error %", 100, 2),
    "agreement": ("agreement %", 100, 2),
    "copied": ("mistakes copied %", 100, 2),
}


class Measured(NamedTuple):
    """One student on one split.

    Attributes:
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        teacher: its teacher's.
        split: "train" or "test".
        values: how it mimics.
    """

    path: str
    label: str
    teacher: str
    split: str
    values: Mimicry


class _Answers(nn.Module):
    """A frozen teacher as a module, to be asked about a whole split."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self._teacher = teacher

    def forward(self, view: torch.Tensor) -> Output:
        return self._teacher(view)


def write_mimicry(
    runs: Sequence[Path], overrides: Sequence[str], out: Path, *, temperature: float, accelerator: str
) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: finished runs that had a teacher.
        overrides: `data.key=value`, where their data have moved.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.
        temperature: at which student and teacher are compared.
        accelerator: where to run.

    Raises:
        LimbeckError: a run is not finished, is damaged or had no teacher, or its teacher is not there any more; a name
            that is no page's.
    """
    numbers = numbers_file(out)
    found = [one for run in runs for one in measure(run, overrides, temperature, accelerator)]
    rows = [_row(one) for one in found]
    about = (
        f"Student and teacher on the same images, without random views: KD loss is KL(q ‖ p) at temperature "
        f"{temperature:g}, without any weight and without T²; CE is the student's cross-entropy to the labels; "
        "agreement is how often both name one class; mistakes copied, how often the student makes the teacher's own "
        "mistake.",
        "A KD loss that stays high on training images says that the student cannot mimic this teacher. One that is low "
        "while the error is high says that mimicking it is the wrong aim.",
    )
    values: dict[str, Any] = {"paragraphs": about, "drawings": sections(_drawings(found)), "rows": rows}
    write_html(out, "analysis.html", title="Mimicry", **values)
    files.write(numbers, csv(found, temperature))
    return rows


def measure(run: Path, overrides: Sequence[str], temperature: float, accelerator: str) -> list[Measured]:
    """Return how each student of a run mimics its teacher, on training and on test images.

    Raises:
        LimbeckError: as `write_mimicry`.
    """
    students = [one for one in read_students(run) if one.student != ENSEMBLE]
    choice = teacher_of(run)
    if choice is None:
        raise LimbeckError(f"{run} had no teacher: give runs that had one")
    runtime = Runtime(accelerator, devices=1, nodes=1)
    splits = {"train": train_examples(run, overrides, runtime.device)}
    splits["test"] = test_examples(run, overrides, runtime.device)
    data = splits["train"]
    inputs = Inputs(data.classes, data.shape[0], data.mean, data.std)
    networks = list(trained(run, "last", inputs, runtime.device).values())
    networks.append(_Answers(load_teacher(choice, inputs).meet(inputs, runtime.device)))
    label = str(students[0].environment.get("teacher"))
    return [
        Measured(path_of(student), label_of(student), label, split, values)
        for split, examples in splits.items()
        for student, values in zip(students, _compared(networks, examples, temperature, runtime), strict=True)
    ]


def _compared(networks: list[nn.Module], examples: Examples, temperature: float, runtime: Runtime) -> list[Mimicry]:
    *said, taught = predictions(Peers(networks), examples, runtime)
    labels, theirs = torch.from_numpy(taught.labels), torch.from_numpy(taught.logits)
    return [mimicry(torch.from_numpy(one.logits), theirs, labels, temperature) for one in said]


def _row(one: Measured) -> dict[str, str]:
    row = {"network": one.label, "teacher": one.teacher, "on": one.split}
    for key, (name, scale, digits) in COLUMNS.items():
        value = getattr(one.values, key)
        row[name] = "–" if math.isnan(value) else f"{scale * value:.{digits}f}"
    return row


def csv(found: Sequence[Measured], temperature: float) -> str:
    """Return every student and split, unrounded, a line each."""
    import pandas as pd

    lines = [
        {"network": one.path, "teacher": one.teacher, "split": one.split, "temperature": temperature}
        | one.values._asdict()
        for one in found
    ]
    return str(pd.DataFrame(lines).to_csv(index=False))


def _drawings(found: Sequence[Measured]) -> list[go.Figure]:
    """Draw the student's error, and the agreement, against the KD loss."""
    drawings = []
    for key, title in (("error", "Error of the student"), ("agreement", "Agreement with the teacher")):
        drawing = go.Figure(layout={"title": f"{title} by KD loss"})
        for i, split in enumerate(("train", "test")):
            here = [one for one in found if one.split == split]
            drawing.add_scatter(
                x=[one.values.kd_loss for one in here],
                y=[100 * getattr(one.values, key) for one in here],
                text=[f"{plain(one.label)}, taught by {plain(one.teacher)}" for one in here],
                mode="markers",
                name=split,
                marker={"color": COLOURS[i], "size": 10},
            )
        drawing.update_xaxes(title="KD loss (nats)")
        drawing.update_yaxes(title=f"{title.lower()} (%)")
        drawings.append(drawing)
    return drawings
