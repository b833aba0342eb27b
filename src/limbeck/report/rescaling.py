"""The picture of a run's gradient: how its method rescales each fifth of the examples, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import yaml

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.plain import recipe_of
from limbeck.report.drawing import line, sections, write_html
from limbeck.train.record import read
from limbeck.train.trace import GROUPS

KEYS = ("p_true", "ratio", "formula", "holds")
ABOUT = (
    "In every epoch the training examples are sorted by the probability that the network gives their true class, and "
    "cut into five equal groups. The ratio of a group is the L1 norm of the method's gradient by the logits, divided "
    "by that of the hard labels' gradient (cross-entropy): below 1 the method holds these examples back, above 1 it "
    "stresses them.",
    "Of PS-KD the paper's formula 1 - α γ(t-1) / γ(t) stands beside it, γ being 1 minus the probability of the true "
    "class, now and in the epoch before. It is exact for the examples that satisfy its condition: for no wrong class "
    "is α × the past probability more than the present one.",
)


class Point(NamedTuple):
    """One group in one epoch.

    Attributes:
        epoch: counted from 1.
        group: 1 is the easiest.
        values: those of `KEYS` that there are.
    """

    epoch: int
    group: int
    values: dict[str, float]


def read_points(run: Path) -> list[Point]:
    """Return the trace of a run, finished or not, in the order of epochs and groups.

    Raises:
        LimbeckError: the folder is no run's, or its training was not traced.
    """
    recipe_of(run)
    points = []
    history = read(run / "metrics.jsonl")
    for entry in history:
        for group in range(1, GROUPS + 1):
            values = {key: entry[name] for key in KEYS if (name := f"rescaling/{group}/{key}") in entry}
            if values:
                points.append(Point(entry["epoch"], group, values))
    if any("error/0" in entry for entry in history):
        raise LimbeckError(f"{run} has several students, and training.trace follows one: give a run of one student")
    if not points:
        raise LimbeckError(f"{run} has no trace of its gradient; get one by training it again: {_again(run)}")
    return points


def _again(run: Path) -> str:
    """Say how to train a run once more, with a trace."""
    if isinstance(recipe_of(run)["data"]["source"], str):  # data of the user's own have no recipe
        return 'limbeck.distil(..., training={"trace": True}, folder=ANOTHER)'
    stages = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8")).get("stages")
    stage = f"stages.{list(stages)[-1]}." if stages else ""
    return f"limbeck train {run / 'recipe.yaml'} {stage}training.trace=true --folder ANOTHER"


def table(points: Sequence[Point], epochs: int = 4) -> list[dict[str, str]]:
    """Return a row per group for the last epoch, and for some evenly spaced ones before it."""
    known = list(dict.fromkeys(point.epoch for point in points))
    shown = {known[math.ceil(len(known) * part / epochs) - 1] for part in range(1, epochs + 1)}
    ends = {1: "1, easiest", GROUPS: f"{GROUPS}, hardest"}
    return [
        {"epoch": str(point.epoch), "group": ends.get(point.group, str(point.group)), **_printed(point.values)}
        for point in points
        if point.epoch in shown
    ]


def _printed(values: Mapping[str, float]) -> dict[str, str]:
    """Return a group's values as printed; nobody but PS-KD has the formula."""
    names = {"p_true": "p of the true class", "ratio": "gradient ratio", "formula": "formula"}
    printed = {name: f"{values[key]:.3f}" for key, name in names.items() if key in values}
    if "holds" in values:
        printed["condition holds %"] = f"{100 * values['holds']:.1f}"
    return printed


def csv(points: Sequence[Point]) -> str:
    """Return every epoch and group, unrounded, a line each."""
    lines = [",".join(["epoch", "group", *KEYS])]
    for point in points:
        values = [repr(point.values[key]) if key in point.values else "" for key in KEYS]
        lines.append(",".join([str(point.epoch), str(point.group), *values]))
    return "".join(f"{text}\n" for text in lines)


def write_rescaling(run: Path) -> list[dict[str, str]]:
    """Write RUN/rescaling.html and RUN/rescaling.csv, and return the rows of the table."""
    points = read_points(run)
    rows = table(points)
    drawings = [_ratios(points)]
    if any("holds" in point.values for point in points):
        drawings.append(_curves(points, "holds", "Share of the examples for which the formula is exact", 100.0, "%"))
    drawings.append(_curves(points, "p_true", "How easy the groups are: mean probability of the true class", 1.0, "p"))
    title = f"Rescaling of the gradient: {run.resolve().name}"
    values: dict[str, Any] = {"paragraphs": ABOUT, "drawings": sections(drawings), "rows": rows}
    write_html(run / "rescaling.html", "analysis.html", title=title, **values)
    files.write(run / "rescaling.csv", csv(points))
    return rows


def _ratios(points: Sequence[Point]) -> go.Figure:
    drawing = _curves(
        points, "ratio", "Gradient of the method by that of the hard labels; dashed: the formula", 1.0, ""
    )
    drawing.update_yaxes(title="ratio of L1 norms")
    for group in range(1, GROUPS + 1):
        curve = [point for point in points if point.group == group and "formula" in point.values]
        if curve:
            drawing.add_scatter(
                x=[point.epoch for point in curve],
                y=[point.values["formula"] for point in curve],
                mode="lines",
                name=f"{_name(group)}, formula",
                line=line(group - 1) | {"dash": "dash", "width": 1.5},
                showlegend=False,
            )
    drawing.add_hline(y=1, line={"color": "#999999", "dash": "dot"})
    return drawing


def _curves(points: Sequence[Point], key: str, title: str, scale: float, unit: str) -> go.Figure:
    """Draw one value by epoch, a line per group."""
    drawing = go.Figure(layout={"title": title})
    for group in range(1, GROUPS + 1):
        curve = [point for point in points if point.group == group and key in point.values]
        drawing.add_scatter(
            x=[point.epoch for point in curve],
            y=[scale * point.values[key] for point in curve],
            # a single epoch is a dot
            mode="lines" if len(curve) > 1 else "markers",
            name=_name(group),
            line=line(group - 1),
        )
    drawing.update_xaxes(title="epoch")
    drawing.update_yaxes(title=unit)
    return drawing


def _name(group: int) -> str:
    return {1: "1 (easiest)", GROUPS: f"{GROUPS} (hardest)"}.get(group, str(group))
