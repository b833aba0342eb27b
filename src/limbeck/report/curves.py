"""Drawings of finished runs, a line per group: how right when how sure, how wrong when how choosy, how they learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64
from numpy.typing import NDArray

from limbeck.analysis.confidence import probabilities
from limbeck.metrics import Reliability, confidences, reliability, risk_coverage
from limbeck.plain import classifies, task_name
from limbeck.report.compare import FinishedRun, Group, Which
from limbeck.report.drawing import MUTED, Exhibit, faint, line, plain, symbol
from limbeck.train.predictions import read_predictions

# more groups than this have neither bands nor lines of the training error, in which nothing would be seen
_CROWD = 6
_COVERAGE = np.linspace(0.01, 1, 100)
_TABLED = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class _Confidence(NamedTuple):
    """What one run's test predictions come to.

    Attributes:
        bins: its reliability diagram.
        risk: its error at each of `_COVERAGE`.
    """

    bins: Reliability
    risk: Float64[np.ndarray, " points"]


def curves(groups: Sequence[Group], which: Which) -> list[Exhibit]:
    """Return the drawings of groups; each run's predictions are read once.

    Raises:
        LimbeckError: a run's predictions are missing or damaged.
    """
    learned = _learning(groups)
    learning = [learned] if learned.rows else []
    if not all(classifies(run.recipe) for group in groups for run in group.runs.values()):
        return learning  # of others, no probabilities of all classes are kept
    sure = [[_confidence(run, which) for run in group.runs.values()] for group in groups]
    return [*learning, _reliability(groups, sure), _risk_coverage(groups, sure)]


def _confidence(run: FinishedRun, which: Which) -> _Confidence:
    said = read_predictions(run.folder, run.student, which)
    probs = probabilities(said.logits)
    coverage, risk = risk_coverage(*confidences(probs, said.labels))
    return _Confidence(reliability(probs, said.labels), np.interp(_COVERAGE, coverage, risk))


def _reliability(groups: Sequence[Group], sure: Sequence[Sequence[_Confidence]]) -> Exhibit:
    """Draw accuracy against confidence, over all seeds' predictions together; rare confidences have small dots."""
    drawing = go.Figure()
    drawing.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfectly calibrated", line={"color": MUTED, "dash": "dot", "width": 1}
    )
    rows, numbers = [], []
    crowd = len(groups) > _CROWD
    for i, (group, runs) in enumerate(zip(groups, sure, strict=True)):
        bins = _together([run.bins for run in runs])
        filled = bins.examples > 0
        count, confidence, accuracy = bins.examples[filled], bins.confidence[filled], bins.accuracy[filled]
        drawing.add_scatter(
            x=confidence,
            y=accuracy,
            mode="lines+markers",
            name=plain(group.label),
            legendgroup=str(i),
            line={**line(i), "width": 1 if crowd else 1.5},
            marker={"size": 4 + (7 if crowd else 14) * np.sqrt(count / count.max()), "symbol": symbol(i)},
            opacity=0.85,
            cliponaxis=False,
            text=[f"{one} predictions" for one in count],
            hovertemplate="confidence %{x:.3f}, accuracy %{y:.3f}, %{text}",
        )
        gap = float((count * np.abs(confidence - accuracy)).sum() / count.sum())
        rows.append(
            {
                "group": group.label,
                "predictions": str(int(count.sum())),
                "mean confidence": f"{float((count * confidence).sum() / count.sum()):.3f}",
                "accuracy": f"{float((count * accuracy).sum() / count.sum()):.3f}",
                "mean gap": f"{gap:.3f}",
                "surest bin": f"{confidence[-1]:.3f} sure, {accuracy[-1]:.3f} right",
            }
        )
        columns = zip(count.tolist(), confidence.tolist(), accuracy.tolist(), strict=True)
        numbers += [{"group": group.label, "predictions": n, "confidence": c, "accuracy": a} for n, c, a in columns]
    drawing.update_xaxes(title="mean confidence", range=[0, 1.02])
    drawing.update_yaxes(title="accuracy", range=[0, 1.02])
    about = (
        "All seeds together. On the dotted line a network is as often right as it is sure; below it, it is too sure. "
        "The larger a dot, the more predictions."
    )
    return Exhibit("reliability", "Reliability: how right when how sure", about, drawing, rows, numbers)


def _together(runs: Sequence[Reliability]) -> Reliability:
    """Return the diagram of all runs' predictions."""
    counts = np.array([run.examples for run in runs])
    total = counts.sum(0)
    at = np.maximum(total, 1)
    return Reliability(
        total,
        (counts * np.nan_to_num([run.confidence for run in runs])).sum(0) / at,
        (counts * np.nan_to_num([run.accuracy for run in runs])).sum(0) / at,
    )


def _risk_coverage(groups: Sequence[Group], sure: Sequence[Sequence[_Confidence]]) -> Exhibit:
    """Draw the error among the most confident predictions, averaged over seeds."""
    drawing = go.Figure()
    rows, numbers = [], []
    for i, (group, runs) in enumerate(zip(groups, sure, strict=True)):
        risk = 100 * np.array([run.risk for run in runs])
        mean = risk.mean(0)
        _band(drawing, i, _COVERAGE, risk, len(groups))
        drawing.add_scatter(
            x=_COVERAGE, y=mean, mode="lines", name=plain(group.label), legendgroup=str(i), line=line(i),
            hovertemplate="coverage %{x:.2f}, error %{y:.2f} %",
        )  # fmt: skip
        at = {f"{share:.0%} answered": f"{np.interp(share, _COVERAGE, mean):.2f}" for share in _TABLED}
        rows.append({"group": group.label, **at})
        points = zip(_COVERAGE.tolist(), mean.tolist(), strict=True)
        numbers += [{"group": group.label, "coverage": x, "error_percent": y} for x, y in points]
    drawing.update_xaxes(title="coverage: share answered", range=[0, 1.01])
    drawing.update_yaxes(title="error %", rangemode="tozero")
    about = (
        "Coverage is the share of the test set that is answered, the surest first. The lower the line, the better a "
        f"network knows when it is right. Mean over seeds{_bands(groups)}. In the table: error % at each coverage."
    )
    title = "Risk-coverage: error among the most confident"
    return Exhibit("risk-coverage", title, about, drawing, rows, numbers)


def _learning(groups: Sequence[Group]) -> Exhibit:
    """Draw training and validation error by epoch, averaged over seeds."""
    drawing = go.Figure()
    rows, numbers = [], []
    crowd = len(groups) > _CROWD
    for i, group in enumerate(groups):
        histories = [_history(run) for run in group.runs.values()]
        # the training error of a detector is that of the places it looks at, no share of boxes
        kinds = ("validation/error",) if _detects(group) else ("validation/error", "error")
        found = {kind: _curves(group, histories, kind) for kind in kinds}
        thick = "validation/error" if found["validation/error"].size else kinds[-1]
        for kind, each in found.items():
            if not each.size:
                continue
            epochs, mean = np.arange(1, each.shape[1] + 1), each.mean(0)
            name = "training" if kind == "error" else "validation"
            if kind == thick:
                _band(drawing, i, epochs, each, len(groups))
                rows.append({"group": group.label, "error": name, **_marks(mean)})
            if kind == thick or not crowd:
                drawing.add_scatter(
                    x=epochs, y=mean, mode="lines" if len(epochs) > 1 else "markers",
                    name=f"{plain(group.label)}, {name}", legendgroup=str(i), showlegend=kind == thick,
                    line=line(i) | {"width": 2.5 if kind == thick else 1},
                    hovertemplate="epoch %{x}, error %{y:.2f} %",
                )  # fmt: skip
            points = zip(epochs.tolist(), mean.tolist(), strict=True)
            numbers += [{"group": group.label, "curve": name, "epoch": x, "error_percent": y} for x, y in points]
    drawing.update_xaxes(title="epoch")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    thin = "" if crowd else " thick, of the training examples thin"
    about = (
        f"Error of the validation split{thin} (where there is none: of the training examples); mean over seeds"
        f"{_bands(groups)}."
    )
    if any(map(_detects, groups)):
        about += " Of a detector it is 1 − AP50 of the validation split alone."
    return Exhibit("learning", "Learning: error by epoch", about, drawing, rows, numbers)


def _detects(group: Group) -> bool:
    return any(task_name(run.recipe) == "detection" for run in group.runs.values())


def _marks(mean: Float64[np.ndarray, " epochs"]) -> dict[str, str]:
    """Return a curve at five of its epochs, as printed."""
    last = len(mean) - 1
    places = {"first": 0, "at a quarter": last // 4, "at half": last // 2, "last": last}
    lowest = int(mean.argmin())
    return {"epochs": str(last + 1)} | {name: f"{mean[at]:.2f}" for name, at in places.items()} | {
        "lowest": f"{mean[lowest]:.2f} (epoch {lowest + 1})"
    }  # fmt: skip


def _bands(groups: Sequence[Group]) -> str:
    several = any(len(group.runs) > 1 for group in groups)
    return ", with a band from the lowest to the highest" if several and len(groups) <= _CROWD else ""


def _band(
    drawing: go.Figure, index: int, x: NDArray[Any], each: Float64[np.ndarray, "seeds points"], groups: int
) -> None:
    """Draw a band from the lowest to the highest seed."""
    if len(each) < 2 or groups > _CROWD:
        return
    drawing.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([each.max(0), each.min(0)[::-1]]), fill="toself",
        fillcolor=faint(index), line={"width": 0}, mode="lines", hoverinfo="skip", legendgroup=str(index),
        showlegend=False,
    )  # fmt: skip


def _curves(group: Group, histories: Sequence[list[dict[str, Any]]], kind: str) -> Float64[np.ndarray, "seeds epochs"]:
    """Return the error % of a group's runs by epoch, as long as its shortest; an ensemble has none."""
    found = [_curve(run, history, kind) for run, history in zip(group.runs.values(), histories, strict=True)]
    shortest = min(map(len, found))
    return 100 * np.array([curve[:shortest] for curve in found], dtype=np.float64).reshape(len(found), shortest)


def _curve(run: FinishedRun, history: Sequence[dict[str, Any]], kind: str) -> list[float]:
    """Return a student's error by epoch; of several, each has its number in the log; an ensemble's is not drawn."""
    number = run.student.removeprefix("student").removeprefix("-")
    numbered = {"validation/error": f"validation/{number}/error", "error": f"error/{number}"}
    key = numbered[kind] if number else kind
    return [line[key] for line in history if key in line]


def _history(run: FinishedRun) -> list[dict[str, Any]]:
    path = run.folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
