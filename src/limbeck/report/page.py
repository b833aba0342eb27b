"""One self-contained HTML page: the table, and how sure, how right, how fast each group is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, select_autoescape
from numpy.typing import NDArray

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.metrics import confidences, reliability, risk_coverage
from limbeck.report.compare import FinishedRun, Group, Which, paired_table, table
from limbeck.report.text import TESTED, TESTS

# Okabe & Ito's colours, told apart by colour-blind readers as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")


def write_page(groups: Sequence[Group], which: Which, path: Path, title: str) -> None:
    """Write the page of a comparison, or of one run (a group of one)."""
    drawings = [_reliability(groups, which), _risk_coverage(groups, which), _learning_curves(groups)]
    template = Environment(
        loader=PackageLoader("limbeck.report", ""), autoescape=select_autoescape(["html"])
    ).get_template("page.html")
    page = template.render(
        title=title,
        which=which,
        rows=table(groups, which),
        paired=paired_table(groups, which, TESTED),
        tests=TESTS,
        drawings=[(drawing.layout.title.text, _html(drawing, first=i == 0)) for i, drawing in enumerate(drawings)],
        runs=[run for group in groups for run in group.runs.values()],
    )
    files.write(path, page)


def _html(drawing: go.Figure, *, first: bool) -> str:
    """Return a drawing; the first one carries the script for all, so that the page works offline."""
    # the page has the title: there it breaks into lines on a phone
    drawing.update_layout(title=None, template="plotly_white", height=420, margin={"l": 60, "r": 20, "t": 30, "b": 50})
    drawing.update_layout(legend={"orientation": "h", "y": -0.2})
    config = {"responsive": True, "displaylogo": False}
    return str(drawing.to_html(full_html=False, include_plotlyjs=first, config=config))


def _line(group_index: int) -> dict[str, str]:
    return {"color": COLOURS[group_index % len(COLOURS)], "dash": DASHES[group_index // len(COLOURS) % len(DASHES)]}


def _plain(label: str) -> str:
    """Return a label that plotly shows as it is written: it would read <b> and links in it."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reliability(groups: Sequence[Group], which: Which) -> go.Figure:
    """Draw accuracy against confidence, over all seeds' predictions together; rare confidences have small dots."""
    title = "Reliability: how right when how sure (all seeds together; the larger the dot, the more predictions)"
    drawing = go.Figure(layout={"title": title})
    drawing.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfectly calibrated", line={"color": "#999999", "dash": "dot"}
    )
    for i, group in enumerate(groups):
        probabilities, labels = zip(*(_predictions(run, which) for run in group.runs.values()), strict=True)
        bins = reliability(np.concatenate(probabilities), np.concatenate(labels))
        filled = bins.examples > 0
        hover = [f"{count} predictions" for count in bins.examples[filled]]
        share = bins.examples[filled] / bins.examples.max()
        drawing.add_scatter(
            x=bins.confidence[filled],
            y=bins.accuracy[filled],
            mode="lines+markers",
            name=_plain(group.label),
            line=_line(i),
            marker={"size": 3 + 15 * np.sqrt(share)},
            text=hover,
        )
    drawing.update_xaxes(title="mean confidence", range=[0, 1.02])
    drawing.update_yaxes(title="accuracy", range=[0, 1.02])
    return drawing


def _risk_coverage(groups: Sequence[Group], which: Which) -> go.Figure:
    """Draw the error among the most confident predictions, averaged over seeds."""
    drawing = go.Figure(layout={"title": "Risk-coverage: error among the most confident"})
    for i, group in enumerate(groups):
        curves = []
        for run in group.runs.values():
            coverage, risk = risk_coverage(*confidences(*_predictions(run, which)))
            curves.append(np.interp(np.linspace(0.01, 1, 200), coverage, risk))
        drawing.add_scatter(
            x=np.linspace(0.01, 1, 200),
            y=100 * np.mean(curves, axis=0),
            mode="lines",
            name=_plain(group.label),
            line=_line(i),
        )
    drawing.update_xaxes(title="coverage: share of the test set that is answered")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    return drawing


def _learning_curves(groups: Sequence[Group]) -> go.Figure:
    """Draw training and validation error by epoch, averaged over seeds."""
    drawing = go.Figure(layout={"title": "Learning: validation error (thick) and training error (thin), by epoch"})
    for i, group in enumerate(groups):
        for key, width in (("validation/error", 2.5), ("error", 1.0)):
            curves = [[line[key] for line in _history(run) if key in line] for run in group.runs.values()]
            shortest = min(len(curve) for curve in curves)
            if shortest:
                mean = np.mean([curve[:shortest] for curve in curves], axis=0)
                drawing.add_scatter(
                    x=np.arange(1, shortest + 1), y=100 * mean, mode="lines", name=f"{_plain(group.label)}, {key}",
                    line=_line(i) | {"width": width}, showlegend=width > 1,
                )  # fmt: skip
    drawing.update_xaxes(title="epoch")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    return drawing


def _predictions(run: FinishedRun, which: Which) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a run's test probabilities [N, K] and labels [N]."""
    path = run.folder / f"predictions{run.student.removeprefix('student')}.npz"
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            logits = arrays["best_logits" if which == "best" else "logits"].astype(np.float64)
            labels = arrays["labels"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LimbeckError(f"{path} is missing or damaged; remove its folder and train again") from error
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), labels


def _history(run: FinishedRun) -> list[dict[str, Any]]:
    path = run.folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
