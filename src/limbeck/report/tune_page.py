"""The page of a search: the best figure by trial, and the figure over each field that was searched."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from limbeck.report.drawing import COLOURS, Exhibit, legend, line, plain, shown, symbol, write_html
from limbeck.report.tune import cautions, made_of, next_command, notes_of, space_of, trials_table, winners_table
from limbeck.tuning.make import Outcome
from limbeck.tuning.space import Range, written


def write_search_page(outcome: Outcome, path: Path) -> None:
    """Write the page of a search.

    Raises:
        LimbeckError: it cannot be written.
    """
    searches = outcome.prepared.searches
    write_html(
        path,
        "tune.html",
        title=outcome.prepared.name,
        command=outcome.prepared.command,
        by=outcome.prepared.by.name,
        winners=winners_table(outcome),
        cautions=cautions(outcome),
        next_command=next_command(outcome),
        trials=[
            (
                search.recipe,
                space_of(search).replace("`", ""),
                trials_table(outcome, search, outcome.trials[search.label]),
            )
            for search in searches
        ],
        notes=[text for search in searches for text in notes_of(outcome, search)],
        made=made_of(outcome),
        exhibits=shown(search_exhibits(outcome)),
        legend=legend([search.recipe for search in searches]),
    )


def search_exhibits(outcome: Outcome) -> list[Exhibit]:
    """Return what is drawn of a search: its course, and a drawing for each field."""
    keys = list(dict.fromkeys(key for search in outcome.prepared.searches for key in search.space))
    return [_course(outcome), *(_field(outcome, key) for key in keys)]


def _course(outcome: Outcome) -> Exhibit:
    by, drawing = outcome.prepared.by, go.Figure()
    numbers: list[dict[str, Any]] = []
    for i, search in enumerate(outcome.prepared.searches):
        best, course = float("inf"), []
        for trial in outcome.trials[search.label]:
            best = min(best, best if trial.figure is None else trial.figure)
            numbers.append({"recipe": search.label, "trial": trial.number, by.key: trial.figure})
            if best < float("inf"):
                course.append((trial.number, best * by.scale))
        drawing.add_scatter(
            x=[x for x, _ in course], y=[y for _, y in course], mode="lines+markers", legendgroup=str(i),
            name=plain(search.recipe), line={**line(i), "shape": "hv"}, marker={"symbol": symbol(i), "size": 7},
        )  # fmt: skip
    drawing.update_xaxes(title="trials made", dtick=1 if outcome.prepared.trials <= 20 else None)
    drawing.update_yaxes(title=f"best {by.name} yet")
    about = "The best figure on the validation split after so many trials. It falls by luck as well."
    return Exhibit("course", "The best by trial", about, drawing, [], numbers)


def _field(outcome: Outcome, key: str) -> Exhibit:
    """Draw the figure over the values of a field."""
    by, drawing = outcome.prepared.by, go.Figure()
    numbers: list[dict[str, Any]] = []
    kinds = set()
    for i, search in enumerate(outcome.prepared.searches):
        if key not in search.space:
            continue
        axis = search.space[key]
        kinds.add("category" if not isinstance(axis, Range) else "log" if axis.log else "linear")
        trials = [trial for trial in outcome.trials[search.label] if trial.figure is not None]
        best = outcome.best(search.label)
        values = [trial.values[key] for trial in trials]
        numbers += [{"recipe": search.label, "trial": t.number, key: t.values[key], by.key: t.figure} for t in trials]
        drawing.add_scatter(
            x=values if isinstance(axis, Range) else [written(value) for value in values],
            y=[by.scale * trial.figure for trial in trials if trial.figure is not None],
            mode="markers", legendgroup=str(i), name=plain(search.recipe),
            text=[f"trial {trial.number}" for trial in trials],
            marker={
                "color": COLOURS[i % len(COLOURS)], "symbol": symbol(i),
                "size": [15 if trial is best else 9 for trial in trials], "opacity": 0.8,
            },
        )  # fmt: skip
    kind = kinds.pop() if len(kinds) == 1 else "category" if "category" in kinds else "linear"
    drawing.update_xaxes(title=plain(key), type=kind)
    if kind == "log":
        drawing.update_xaxes(tickvals=_marks([float(one[key]) for one in numbers]))
    drawing.update_yaxes(title=by.name)
    about = "A point per finished trial; the largest is the best of its recipe. The other fields differ as well."
    return Exhibit(f"field-{re.sub(r'[^a-z0-9]+', '-', key)}", f"Over {key}", about, drawing, [], numbers)


def _marks(values: Sequence[float]) -> list[float]:
    """Return round numbers for a logarithmic axis over these values."""
    if not values:
        return []
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    return [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
