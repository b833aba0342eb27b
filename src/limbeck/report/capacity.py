"""The capacity curves of a study: test error against what an axis varies, a line for each other choice.

Where a task has no error, its first figure takes the error's place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from limbeck.metrics.figures import Figure
from limbeck.report.compare import Group
from limbeck.report.drawing import Exhibit, faint, line, plain, symbol
from limbeck.report.summary import headline, interval, printed, worded
from limbeck.studies.cells import Cell

# beyond this many lines their bands hide each other
_CROWD = 6


def capacities(axes: Mapping[str, Sequence[str]], places: Sequence[tuple[Cell, Group]]) -> list[Exhibit]:
    """Return a drawing for each axis of two values and more.

    Args:
        axes: the values of each, in the order in which they were written.
        places: each group of finished runs, with the cell that it is of.
    """
    shown = headline([group for _, group in places], "last")
    return [
        _capacity(axis, values, places, shown) for axis, values in axes.items() if _drawn(axis, values, places, shown)
    ]


def _drawn(axis: str, values: Sequence[str], places: Sequence[tuple[Cell, Group]], shown: Figure) -> bool:
    there = {cell.at[axis] for cell, group in places if axis in cell.at and group.values(shown.key, "last")}
    return len(values) > 1 and len(there) > 1


def _capacity(axis: str, values: Sequence[str], places: Sequence[tuple[Cell, Group]], shown: Figure) -> Exhibit:
    lines: dict[str, dict[str, list[float]]] = {}
    level: dict[str, list[float]] = {}
    for cell, group in places:
        found = [100 * value for value in group.values(shown.key, "last").values()]
        if not found:
            continue
        if axis in cell.at:
            lines.setdefault(_rest(cell, group, axis), {})[cell.at[axis]] = found
        else:
            level[group.label] = found
    numbers = _numeric(values)
    drawing = go.Figure()
    rows: list[dict[str, str]] = []
    written: list[dict[str, Any]] = []
    for i, (label, points) in enumerate(lines.items()):
        known = [value for value in values if value in points]
        x = [numbers[value] for value in known] if numbers else known
        _line(drawing, i, label, x, [points[value] for value in known], len(lines), worded(shown))
        rows.append(
            {"runs": label or "all"} | {f"{axis}={value}": _told(points.get(value, []), shown) for value in values}
        )
        written += [_number(axis, label, value, points[value], shown) for value in known]
    ends = [min(numbers.values()), max(numbers.values())] if numbers else [values[0], values[-1]]
    for i, (label, found) in enumerate(level.items(), len(lines)):
        drawing.add_scatter(
            x=ends, y=[float(np.mean(found))] * 2, mode="lines+markers", name=plain(label), legendgroup=str(i),
            line={**line(i), "width": 1}, marker={"symbol": symbol(i), "size": 6},
            hovertemplate=f"{worded(shown)} %{{y:.2f}}",
        )  # fmt: skip
        rows.append({"runs": f"{label} (without {axis})"} | {f"{axis}={value}": "" for value in values[1:]})
        rows[-1][f"{axis}={values[0]}"] = _told(found, shown)
        written.append(_number(axis, label, "", found, shown))
    _axes(drawing, axis, values, numbers, worded(shown))
    word = worded(shown)
    about = (
        f"Mean {word} of the test set over seeds, last weights, against {axis}"
        + (", with the 95 % interval as a band" if len(lines) <= _CROWD else "")
        + f"; a small dot is one run. A thin level is of runs that the axis does not vary. In the table: {word}."
    )
    subject = "Error" if shown.key == "error" else shown.name
    labels = [*(label or "all" for label in lines), *(f"{label}, without {axis}" for label in level)]
    return Exhibit(f"{shown.key}-by-{axis}", f"{subject} against {axis}", about, drawing, rows, written, labels)


def _rest(cell: Cell, group: Group, axis: str) -> str:
    """Return what else a group is, beside its place on the axis."""
    parts = [*([cell.kind] if cell.kind else []), *(f"{name}={value}" for name, value in cell.at.items())]
    student = group.label.removeprefix(cell.name).removeprefix(", ")
    return ", ".join([part for part in parts if part != f"{axis}={cell.at[axis]}"] + ([student] if student else []))


def _numeric(values: Sequence[str]) -> dict[str, float]:
    """Return the values as numbers, in the order of their size; nothing where they are names."""
    try:
        found = {value: float(value) for value in values}
    except ValueError:
        return {}
    return found if all(map(math.isfinite, found.values())) else {}


def _line(
    drawing: go.Figure, i: int, label: str, x: Sequence[Any], found: Sequence[Sequence[float]], lines: int, word: str
) -> None:
    order = sorted(range(len(x)), key=lambda at: x[at]) if all(isinstance(one, float) for one in x) else range(len(x))
    x, found = [x[at] for at in order], [found[at] for at in order]
    means = [interval(values) for values in found]
    if lines <= _CROWD and any(one.half is not None for one in means):
        high = [one.mean + (one.half or 0) for one in means]
        low = [max(0.0, one.mean - (one.half or 0)) for one in means]
        drawing.add_scatter(
            x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=faint(i), mode="lines",
            line={"width": 0}, hoverinfo="skip", showlegend=False, legendgroup=str(i),
        )  # fmt: skip
    drawing.add_scatter(
        x=[one for one, values in zip(x, found, strict=True) for _ in values],
        y=[value for values in found for value in values], mode="markers", hoverinfo="skip", showlegend=False,
        legendgroup=str(i), marker={"size": 4, "color": line(i)["color"], "opacity": 0.5},
    )  # fmt: skip
    drawing.add_scatter(
        x=x, y=[one.mean for one in means], mode="lines+markers", name=plain(label or "all"), line=line(i),
        legendgroup=str(i),
        marker={"symbol": symbol(i), "size": 9}, hovertemplate=f"%{{x}}: {word} %{{y:.2f}}",
    )  # fmt: skip


def _axes(drawing: go.Figure, axis: str, values: Sequence[str], numbers: Mapping[str, float], word: str) -> None:
    drawing.update_yaxes(title=f"test {word}", rangemode="nonnegative")
    if not numbers:
        drawing.update_xaxes(title=plain(axis), type="category", categoryorder="array", categoryarray=list(values))
        return
    at = sorted(numbers.values())
    names = {number: value for value, number in numbers.items()}
    drawing.update_xaxes(title=plain(axis), tickvals=at, ticktext=[names[one] for one in at])
    if at[0] > 0 and at[-1] >= 8 * at[0]:
        drawing.update_xaxes(type="log", title=f"{plain(axis)} (log)")


def _told(found: Sequence[float], shown: Figure) -> str:
    return printed([value / 100 for value in found], shown)


def _number(axis: str, label: str, value: str, found: Sequence[float], shown: Figure) -> dict[str, Any]:
    mean, half = interval(found)
    return {"runs": label, axis: value, "n": len(found), f"{shown.key}_percent": mean, "half_width_95": half}
