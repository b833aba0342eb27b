"""The drawings of accuracy against cost: test error against parameters, and against the time that training took.

Where a task has no error, its first figure takes the error's place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from limbeck.metrics.figures import Figure
from limbeck.report.compare import Group, Which
from limbeck.report.drawing import Exhibit, line, plain, symbol
from limbeck.report.summary import group_reference, headline, interval, printed, worded


def costs(groups: Sequence[Group], which: Which) -> list[Exhibit]:
    """Return the drawings for which the runs say what they need; none for a single group, which has nothing beside it.

    Seconds of several kinds of machine cannot be compared, and then epochs take their place.
    """
    found, shown = [], headline(groups, which)
    subject = "Error" if shown.key == "error" else shown.name
    if size := _means(groups, "parameters"):
        good = "low is better: a small network that errs little" if shown.lower_is_better else "high is better"
        about = f"Mean over seeds with its 95 % interval. Left and {good}."
        found.append(_cost(groups, which, shown, "parameters", size, f"{subject} against size", about))
    devices = {run.environment.get("device") for group in groups for run in group.runs.values()}
    seconds = _means(groups, "seconds")
    if seconds and len(devices) == 1 and min(seconds.values()) > 0:
        about = (
            "Seconds of the student's own training, without its teacher's; of a run that was stopped, of its last "
            "part. Other work on the machine counts as well."
        )
        found.append(_cost(groups, which, shown, "seconds", seconds, f"{subject} against training time", about))
    elif epochs := _means(groups, "epochs"):
        about = "Epochs of the student's own training, without its teacher's."
        found.append(_cost(groups, which, shown, "epochs", epochs, f"{subject} against epochs trained", about))
    return found


def _means(groups: Sequence[Group], key: str) -> dict[int, float]:
    """Return what groups cost, by their place; nothing where fewer than two say it, or all cost the same."""
    found = {
        i: float(np.mean([run.cost[key] for run in group.runs.values()]))
        for i, group in enumerate(groups)
        if all(key in run.cost for run in group.runs.values())
    }
    return found if len(set(found.values())) > 1 else {}


def _cost(
    groups: Sequence[Group],
    which: Which,
    shown: Figure,
    key: str,
    cost: Mapping[int, float],
    title: str,
    about: str,
) -> Exhibit:
    drawing = go.Figure()
    rows, numbers = [], []
    for i, x in cost.items():
        values = list(groups[i].values(shown.key, which).values())
        if not values:
            continue
        mean, half = interval(values)
        drawing.add_scatter(
            x=[x], y=[100 * mean], mode="markers", name=plain(groups[i].label), legendgroup=str(i),
            marker={"color": line(i)["color"], "symbol": symbol(i), "size": 12},
            error_y={"type": "data", "array": [100 * (half or 0)], "visible": half is not None, "thickness": 1.2},
            hovertemplate=f"{key} %{{x:,}}, {worded(shown)} %{{y:.2f}}",
        )  # fmt: skip
        rows.append({"group": groups[i].label, key: _counted(key, x), shown.name: printed(values, shown)})
        number: dict[str, Any] = {"group": groups[i].label, key: x, f"{shown.key}_percent": 100 * mean}
        number["half_width_95"] = None if half is None else 100 * half
        reference = group_reference(groups[i])
        number[f"reference_{shown.key}"] = reference.values.get(shown.key) if reference else None
        numbers.append(number)
    drawing.update_xaxes(title=key, rangemode="tozero")
    if _wide(cost):
        ticks = _ticks(min(cost.values()), max(cost.values()))
        drawing.update_xaxes(title=f"{key} (log)", type="log", tickvals=ticks, ticktext=[_short(one) for one in ticks])
    drawing.update_yaxes(title=f"test {worded(shown)}", rangemode="nonnegative")
    return Exhibit(f"{shown.key}-against-{key}", title, about, drawing, rows, numbers)


def _wide(cost: Mapping[int, float]) -> bool:
    low, high = min(cost.values()), max(cost.values())
    return low > 0 and math.isfinite(high) and high > 10 * low


def _ticks(low: float, high: float) -> list[float]:
    """Return where a logarithmic axis has its numbers: at 1, 2 and 5, or over many decades at 1 alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in ((1, 2, 5) if high < 500 * low else (1,))]


def _short(value: float) -> str:
    """Return a number as 500, 20k or 5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _counted(key: str, value: float) -> str:
    return f"{value:,.1f}" if key == "seconds" else f"{value:,.0f}"
