"""Means with their intervals over seeds, and beside them the numbers that a recipe says it should reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from limbeck.metrics.figures import ALL, Figure
from limbeck.report.compare import COLUMNS, FinishedRun, Group, Which

MARK = "↳ "
# who changes one of these makes another experiment, of which a recipe's numbers say nothing
_EXPERIMENT = {"model", "method", "matchers", "peers", "teacher", "chain", "generations"}


class Interval(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: it.
        half: half the width of its 95 % interval (Student's t); None for one value.
    """

    mean: float
    half: float | None


class Reference(NamedTuple):
    """What a paper says that a group should reach.

    Attributes:
        source: which paper or table.
        values: by the figure's key, in the unit in which the figure is printed.
        spreads: their standard deviations, where they are told.
        changed: what was changed of the recipe that the numbers are of.
    """

    source: str
    values: dict[str, float]
    spreads: dict[str, float]
    changed: list[str]


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of at least one value with its 95 % interval."""
    from scipy import stats

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, None)
    return Interval(mean, float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)))


def printed(values: Sequence[float], figure: Figure) -> str:
    """Print a mean ± half its 95 % interval; one value has none, and no value is a dash."""
    if not values:
        return "–"
    mean, half = interval(values)
    return figure.show(mean) if half is None else f"{figure.show(mean)} ± {figure.show(half)}"


def headline(groups: Sequence[Group], which: Which) -> Figure:
    """Return the figure that drawings are of: the error, or the first share that there is where no group has one."""
    shares = sorted((one for one in ALL if one.scale == 100), key=lambda one: one.key != "error")
    return next((one for one in shares if any(group.values(one.key, which) for group in groups)), shares[0])


def worded(shown: Figure) -> str:
    """Return what the axis of a drawing calls the figure that `headline` returns."""
    return "error %" if shown.key == "error" else shown.name


def better(groups: Sequence[Group], which: Which) -> str:
    """Say which way is up in the columns of `results_table`."""
    there = [one for one in COLUMNS if any(group.values(one.key, which) for group in groups)]
    higher = [one.name for one in there if not one.lower_is_better]
    if not higher:
        return "Lower is better in every column."
    if len(higher) == len(there):
        return "Higher is better in every column."
    return f"Higher is better in {' and '.join(higher)}, lower in the others."


def reference_of(run: FinishedRun) -> Reference | None:
    """Return the numbers that a run should reach; None where its recipe has none, or it is of another experiment."""
    told = run.reference
    if not isinstance(told, dict):
        return None
    changed = [str(text) for text in told.get("changed", [])] if isinstance(told.get("changed", []), list) else []
    if any(_another(text.partition("=")[0]) for text in changed):
        return None
    number = run.student.removeprefix("student").removeprefix("-")
    if number in {"", "0"}:
        values = {column.key: told[column.key] for column in COLUMNS if _number(told.get(column.key))}
    else:  # of an ensemble none is told
        peers = told.get("peer_errors")
        place = int(number) - 1 if number.isdecimal() else -1
        known = isinstance(peers, list) and 0 <= place < len(peers) and _number(peers[place])
        values = {"error": peers[place]} if known and isinstance(peers, list) else {}
    spreads = {key: told[f"{key}_std"] for key in values if number in {"", "0"} and _number(told.get(f"{key}_std"))}
    return Reference(str(told.get("source", "its recipe")), values, spreads, changed) if values else None


def _another(key: str) -> bool:
    parts = key.split(".")
    parts = parts[2:] if parts[0] == "stages" else parts
    return not parts or parts[0] in _EXPERIMENT or parts[:2] == ["data", "source"] or parts == ["data"]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def group_reference(group: Group) -> Reference | None:
    """Return the numbers that a group should reach."""
    return reference_of(next(iter(group.runs.values())))


def results_table(groups: Sequence[Group], which: Which) -> list[dict[str, str]]:
    """Return a row per group, mean ± half the 95 % interval as printed, and below it one of its reference."""
    columns = [figure for figure in COLUMNS if any(group.values(figure.key, which) for group in groups)]
    rows = []
    for group in groups:
        told = {figure.name: printed(list(group.values(figure.key, which).values()), figure) for figure in columns}
        rows.append({"group": group.label, "n": str(len(group.runs)), **told})
        reference = group_reference(group)
        if reference is not None:
            told = {figure.name: _told(reference, figure) for figure in columns}
            rows.append({"group": f"{MARK}reference{' *' if reference.changed else ''}", "n": "", **told})
    return rows


def _told(reference: Reference, figure: Figure) -> str:
    if figure.key not in reference.values:
        return ""
    text = f"{reference.values[figure.key]:.{figure.digits}f}"
    spread = reference.spreads.get(figure.key)
    return text if spread is None else f"{text} (SD {spread:.{figure.digits}f})"


def reference_notes(groups: Sequence[Group]) -> list[str]:
    """Say where the references come from, and what was changed of the recipes that they are of."""
    sources: dict[str, list[str]] = {}
    changes: dict[str, list[str]] = {}
    for group in groups:
        reference = group_reference(group)
        if reference is not None:
            sources.setdefault(reference.source, []).append(group.label)
        if reference is not None and reference.changed:
            changes.setdefault(", ".join(reference.changed), []).append(group.label)
    notes = [f"Reference: {source} (of {'; '.join(labels)})." for source, labels in sources.items()]
    return notes + [
        f"* Trained with {changed}, and the reference is of the recipe without (of {'; '.join(labels)})."
        for changed, labels in changes.items()
    ]


def results_numbers(groups: Sequence[Group], which: Which) -> list[dict[str, Any]]:
    """Return the same unscaled, a line per group and figure; `reference` is in the figure's printed unit."""
    lines = []
    for group in groups:
        reference = group_reference(group)
        for figure in COLUMNS:
            values = list(group.values(figure.key, which).values())
            if not values:
                continue
            mean, half = interval(values)
            line = {"group": group.label, "figure": figure.key, "n": len(values), "mean": mean, "half_width_95": half}
            line["reference_as_printed"] = reference.values.get(figure.key) if reference else None
            line["reference_source"] = reference.source if reference and figure.key in reference.values else None
            lines.append(line)
    return lines
