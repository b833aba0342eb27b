"""The picture of softening: how near a run's soft targets are to uniform, by temperature, and a virtual teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from limbeck import files
from limbeck.analysis.softening import Softening, softening
from limbeck.report.drawing import line, sections, write_html
from limbeck.report.students import read_students
from limbeck.targets.tfkd_reg import virtual_teacher
from limbeck.train.predictions import read_predictions

TEMPERATURES = tuple(2 ** (i / 2) for i in range(13))
CORRECT = 0.99
FIGURES = {
    "total_variation": "total variation",
    "divergence": "KL to uniform (nats)",
    "entropy": "entropy / log K",
}
VIRTUAL = "virtual teacher"
ABOUT = (
    "A trained network's answers to the test images, softened by a temperature T, against the uniform distribution "
    "over the K classes: the total variation ½ Σ |p - 1/K|, the Kullback-Leibler divergence KL(p ‖ uniform) and the "
    "entropy in units of log K, each a mean over the images. Where the distances have all but gone, the targets are "
    "nearly uniform, as those of label smoothing are.",
    f"Beside it, the virtual teacher of Tf-KD: {CORRECT} for the true class, the rest shared evenly, softened by the "
    "same temperatures (of its log-probabilities).",
)


def write_softening(run: Path) -> list[dict[str, str]]:
    """Write RUN/softening.html and RUN/softening.csv, and return the rows of the table.

    Raises:
        LimbeckError: the folder is no finished run's, or its predictions are damaged.
    """
    found: dict[str, Softening] = {}
    for student in read_students(run):
        logits = torch.from_numpy(read_predictions(run, student.student).logits)
        name = "network" if student.student == "student" else student.student
        found[name] = softening(logits, TEMPERATURES)
    # one example will do: the others' rows are this one with its classes in another order, which no distance sees
    virtual = virtual_teacher(torch.zeros(1, dtype=torch.int64), logits.shape[1], CORRECT)
    found[VIRTUAL] = softening(virtual.double().log(), TEMPERATURES)
    rows = table(found)
    title = f"Softening: {run.resolve().name}"
    values: dict[str, Any] = {"paragraphs": ABOUT, "drawings": sections(_drawings(found)), "rows": rows}
    write_html(run / "softening.html", "analysis.html", title=title, **values)
    files.write(run / "softening.csv", csv(found))
    return rows


def table(found: Mapping[str, Softening]) -> list[dict[str, str]]:
    """Return a row for each whole temperature."""
    return [
        {"T": f"{temperature:g}"}
        | {
            f"{name}: {shown}": f"{float(getattr(of, key)[i]):.4f}"
            for name, of in found.items()
            for key, shown in FIGURES.items()
        }
        for i, temperature in enumerate(TEMPERATURES)
        if temperature == int(temperature)
    ]


def csv(found: Mapping[str, Softening]) -> str:
    """Return every temperature of both, unrounded, a line each."""
    lines = [",".join(["of", "temperature", *FIGURES])]
    for name, of in found.items():
        for i, temperature in enumerate(TEMPERATURES):
            lines.append(",".join([name, repr(temperature), *(repr(float(getattr(of, key)[i])) for key in FIGURES)]))
    return "".join(f"{text}\n" for text in lines)


def _drawings(found: Mapping[str, Softening]) -> list[go.Figure]:
    """Draw each figure against T; distances fall by powers of T, so their axes are logarithmic."""
    drawings = []
    for key, shown in FIGURES.items():
        drawing = go.Figure(layout={"title": shown[0].upper() + shown[1:]})
        for i, (name, of) in enumerate(found.items()):
            drawing.add_scatter(
                x=np.array(TEMPERATURES),
                y=getattr(of, key).numpy(),
                mode="lines+markers",
                name=name,
                line=line(i) | {"dash": "dash" if name == VIRTUAL else "solid"},
            )
        drawing.update_xaxes(title="temperature", type="log", tickvals=[2**i for i in range(7)])
        linear = {"type": "linear"}
        drawing.update_yaxes(title=shown, **(linear if key == "entropy" else {"type": "log", "dtick": 1}))
        drawings.append(drawing)
    return drawings
