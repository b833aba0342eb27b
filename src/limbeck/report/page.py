"""One self-contained HTML page: the table, and how sure, how right, how fast each group is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from limbeck.analysis.confidence import probabilities
from limbeck.metrics import confidences, reliability, risk_coverage
from limbeck.report.compare import FinishedRun, Group, Which, paired_table, read_runs, table
from limbeck.report.compare import group as grouped
from limbeck.report.drawing import line, plain, sections, write_html
from limbeck.report.predictions import read_predictions
from limbeck.report.text import TESTED, TESTS

# of a run, as limbeck analyze calls and writes them
PICTURES = ("rescaling", "softening", "confusion", "cka", "active", "relevance", "noise", "spread")


def write_report(run: Path, which: Which) -> None:
    """Write the report.html of a run, with every picture that is in its folder."""
    pictures = [f"{name}.html" for name in PICTURES if (run / f"{name}.html").exists()]
    write_page(grouped(read_runs([run])), which, run / "report.html", run.resolve().name, pictures)


def renew_report(run: Path) -> bool:
    """Write a run's report again, of the weights that it is of, after a picture has come into its folder.

    Returns:
        False where there is no report yet.
    """
    path = run / "report.html"
    if not path.exists():
        return False
    best = '<meta name="weights" content="best">' in path.read_text()
    write_report(run, "best" if best else "last")
    return True


def write_page(groups: Sequence[Group], which: Which, path: Path, title: str, pictures: Sequence[str] = ()) -> None:
    """Write the page of a comparison, or of one run (a group of one), with pages beside it shown within it."""
    drawings = [_reliability(groups, which), _risk_coverage(groups, which), _learning_curves(groups)]
    write_html(
        path,
        "page.html",
        title=title,
        which=which,
        rows=table(groups, which),
        paired=paired_table(groups, which, TESTED),
        tests=TESTS,
        drawings=sections(drawings),
        pictures=pictures,
        runs=[run for group in groups for run in group.runs.values()],
    )


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
            name=plain(group.label),
            line=line(i),
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
            name=plain(group.label),
            line=line(i),
        )
    drawing.update_xaxes(title="coverage: share of the test set that is answered")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    return drawing


def _learning_curves(groups: Sequence[Group]) -> go.Figure:
    """Draw training and validation error by epoch, averaged over seeds."""
    drawing = go.Figure(layout={"title": "Learning: validation error (thick) and training error (thin), by epoch"})
    for i, group in enumerate(groups):
        for kind, width in (("validation/error", 2.5), ("error", 1.0)):
            curves = [_curve(run, kind) for run in group.runs.values()]
            shortest = min(len(curve) for curve in curves)
            if shortest:
                mean = np.mean([curve[:shortest] for curve in curves], axis=0)
                drawing.add_scatter(
                    x=np.arange(1, shortest + 1), y=100 * mean, mode="lines", name=f"{plain(group.label)}, {kind}",
                    line=line(i) | {"width": width}, showlegend=width > 1,
                )  # fmt: skip
    drawing.update_xaxes(title="epoch")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    return drawing


def _predictions(run: FinishedRun, which: Which) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a run's test probabilities [N, K] and labels [N]."""
    said = read_predictions(run.folder, run.student, which)
    return probabilities(said.logits), said.labels


def _curve(run: FinishedRun, kind: str) -> list[float]:
    """Return a student's error by epoch; of several, each has its number in the log; an ensemble's is not drawn."""
    number = run.student.removeprefix("student").removeprefix("-")
    numbered = {"validation/error": f"validation/{number}/error", "error": f"error/{number}"}
    key = numbered[kind] if number else kind
    return [line[key] for line in _history(run) if key in line]


def _history(run: FinishedRun) -> list[dict[str, Any]]:
    path = run.folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
