"""The page of a study: its claims with their verdicts, its figures, and what else its runs have to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from limbeck import files
from limbeck.report.capacity import capacities
from limbeck.report.compare import Group, Which, read_runs
from limbeck.report.drawing import Exhibit, legend, shown, write_html
from limbeck.report.export import Table, export
from limbeck.report.forest import LOOKS, forest
from limbeck.report.page import exhibits
from limbeck.report.study import (
    OVER_EXAMPLES,
    cautions,
    examples_table,
    explained,
    made_of,
    notes_of,
    progress_of,
    report,
    split_of,
    spread_of,
    verdicts_table,
)
from limbeck.report.summary import better, reference_notes, results_numbers, results_table
from limbeck.studies.cells import Cell
from limbeck.studies.outcome import Outcome
from limbeck.studies.writing import verdict_row


class Place(NamedTuple):
    """A group of finished runs, with the cell that it is of."""

    cell: Cell
    group: Group


def places_of(outcome: Outcome) -> list[Place]:
    """Return the finished runs of a study: a group per cell and student, in the study's order.

    Raises:
        LimbeckError: a run's files are damaged.
    """
    found = []
    for cell in outcome.cells:
        students: dict[str, Group] = {}
        for seed, made in outcome.runs[cell.name].items():
            for run in read_runs([made.folder]):
                label = cell.name if run.student == "student" else f"{cell.name}, {run.student}"
                students.setdefault(run.student, Group(label, {})).runs[seed] = run
        found += [Place(cell, group) for group in students.values()]
    return found


def study_exhibits(outcome: Outcome, places: Sequence[Place]) -> tuple[list[Exhibit], list[Exhibit]]:
    """Return what is drawn of claims and axes, which has a place of its own, and of each group.

    Raises:
        LimbeckError: a run's predictions are missing or damaged.
    """
    claims = forest(outcome.judged)
    axes = {name: list(axis.changes) for name, axis in outcome.study.axes.items()}
    groups = [place.group for place in places]
    first = [*([claims] if claims else []), *capacities(axes, places)]
    return first, exhibits(groups, "last") if groups else []


def write_study(outcome: Outcome, folder: Path) -> None:
    """Write the report of a study, as it is now, into its folder: report.md and report.html.

    Raises:
        LimbeckError: a run's files are damaged, or a file cannot be written.
    """
    files.write(folder / "report.md", report(outcome))
    write_study_page(outcome, folder / "report.html")


def write_study_page(outcome: Outcome, path: Path) -> None:
    """Write the page of a study.

    Raises:
        LimbeckError: a run's files are damaged, or the page cannot be written.
    """
    places = places_of(outcome)
    groups = [place.group for place in places]
    first, others = study_exhibits(outcome, places)
    verdicts: Counter[str] = Counter(one.verdict.decision for one in outcome.judged)
    write_html(
        path,
        "study.html",
        title=outcome.name,
        description=outcome.study.description,
        command=outcome.command,
        progress=progress_of(outcome),
        verdicts=[(name, verdicts[name], *look) for name, look in LOOKS.items()] if outcome.judged else [],
        runs=sum(map(len, outcome.runs.values())),
        planned=len(outcome.cells) * len(outcome.study.seeds),
        cells=len(outcome.cells),
        seeds=outcome.study.seeds,
        failures=outcome.failures,
        claims=verdicts_table(outcome.judged),
        explained=explained(outcome) if outcome.judged else "",
        claim_notes=notes_of(outcome.judged),
        cautions=cautions(outcome) if outcome.judged else [],
        split=split_of(outcome),
        spread=spread_of(outcome),
        tables=[
            (which, rows, better(members, which))
            for which, members in _weights(groups)
            if (rows := results_table(members, which))
        ],
        notes=reference_notes(groups),
        over_examples=examples_table(outcome),
        over_examples_about=OVER_EXAMPLES,
        made=made_of(outcome),
        first=shown([one for one in first if one.name == "claims"]),
        axes=shown([one for one in first if one.name != "claims"]),
        exhibits=shown(others),
        legend=legend([group.label for group in groups]),
    )


def _weights(groups: Sequence[Group]) -> list[tuple[Which, list[Group]]]:
    """Return which weights there are tables of, with the groups that have them."""
    best = [group for group in groups if any("best" in run.results for run in group.runs.values())]
    return [("last", list(groups)), ("best", best)]


def export_study(outcome: Outcome, tables: Path | None, figures: Path | None) -> None:
    """Write a study's tables, its figures or both into folders, and print what was written.

    Raises:
        LimbeckError: a run's files are damaged, a file cannot be written, or what draws figures is missing.
    """
    places = places_of(outcome)
    first, others = study_exhibits(outcome, places)
    groups = [place.group for place in places]
    results = Table("results", results_table(groups, "last"), results_numbers(groups, "last"))
    claims = Table("claims", verdicts_table(outcome.judged), [verdict_row(one) for one in outcome.judged])
    written = [results, claims, Table("over-examples", examples_table(outcome))]
    export(written, [*first, *others], tables, figures)
