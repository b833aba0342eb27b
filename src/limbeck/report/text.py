"""Tables for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from limbeck.metrics.figures import OF_DETECTION
from limbeck.plain import evaluated_on
from limbeck.report.compare import COLUMNS, FinishedRun, Group, Which, markdown, paired_table, table

TESTED = ("bleu", "chrf", *(one.key for one in OF_DETECTION), "error", "nll", "ece", "aurc")


def print_rows(rows: Sequence[Mapping[str, str]], title: str) -> None:
    """Print rows as a table; in a terminal that is too narrow, as several of fewer columns."""
    if not rows:
        return
    # a file or a pipe has no width to fit into; labels and folders are a user's, so nothing in them is markup
    width = None if Console().is_terminal else 400
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    head = list(dict.fromkeys(name for row in rows for name in row))
    print(title)
    for columns in _fitting(head, rows, console.width):
        shown = Table(box=box.SIMPLE_HEAD)
        for i, name in enumerate(columns):
            shown.add_column(name, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i > 0)
        for row in rows:
            shown.add_row(*[row.get(name, "–") for name in columns])
        console.print(shown)


def _fitting(head: Sequence[str], rows: Sequence[Mapping[str, str]], width: int) -> list[list[str]]:
    """Cut columns into groups that fit side by side, each led by the first column."""
    wide = {name: 3 + max(map(cell_len, [name, *(row.get(name, "–") for row in rows)])) for name in head}
    room = width - 1 - min(wide[head[0]], width // 2)
    groups: list[list[str]] = [[]]
    for name in head[1:]:
        if groups[-1] and sum(wide[other] for other in groups[-1]) + wide[name] > room:
            groups.append([])
        groups[-1].append(name)
    return [[head[0], *columns] for columns in groups]


def print_figures(runs: Sequence[FinishedRun]) -> None:
    """Print the last and the best figures of finished runs."""
    rows = [
        {
            "run, weights": ", ".join(
                [run.folder.resolve().name, *([] if run.student == "student" else [run.student]), which]
            )
        }
        | {figure.name: figure.show(values[figure.key]) for figure in COLUMNS if figure.key in values}
        for run in runs
        for which, values in run.results.items()
    ]
    print_rows(rows, evaluated_on(run.recipe for run in runs))


def print_comparison(groups: Sequence[Group], which: Which) -> None:
    """Print the comparison, and the paired differences to the first group."""
    print_rows(table(groups, which), f"{split_of(groups)}, {which} weights: mean ± standard deviation over n seeds")
    against = paired_table(groups, which, TESTED)
    print_rows(against, f"Paired by seed: mean difference ± 95 % interval; {TESTS}")


def split_of(groups: Sequence[Group]) -> str:
    """Return what the figures of groups are of, as a heading says it."""
    return evaluated_on(run.recipe for group in groups for run in group.runs.values())


TESTS = "paired t-tests, not corrected for their number"


def comparison(groups: Sequence[Group], which: Which) -> str:
    """Return the comparison as Markdown."""
    against = markdown(paired_table(groups, which, TESTED))
    head = f"{split_of(groups)}, {which} weights: mean ± standard deviation over n seeds."
    text = f"{head}\n\n{markdown(table(groups, which))}"
    if against:
        text += f"\nPaired by seed: mean difference ± 95 % interval ({TESTS}).\n\n{against}"
    return text
