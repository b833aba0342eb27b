"""Tables for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from limbeck.report.compare import COLUMNS, FinishedRun, Group, Which, markdown, paired_table, table

TESTED = ("error", "nll", "ece", "aurc")


def print_rows(rows: Sequence[Mapping[str, str]], title: str) -> None:
    """Print rows as a table, in full width where the output is no terminal."""
    if not rows:
        return
    head = list(dict.fromkeys(name for row in rows for name in row))
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for i, name in enumerate(head):
        shown.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*[row.get(name, "–") for name in head])
    console = Console()
    # a file or a pipe has no width to fit into
    console = console if console.is_terminal else Console(width=400)
    console.print(shown)


def print_figures(runs: Sequence[FinishedRun]) -> None:
    """Print the last and the best figures of finished runs."""
    rows = [
        {"run": run.folder.name if run.student == "student" else f"{run.folder.name} {run.student}", "weights": which}
        | {figure.name: figure.show(values[figure.key]) for figure in COLUMNS if figure.key in values}
        for run in runs
        for which, values in run.results.items()
    ]
    print_rows(rows, "Test set")


def print_comparison(groups: Sequence[Group], which: Which) -> None:
    """Print the comparison, and the paired differences to the first group."""
    print_rows(table(groups, which), f"Test set, {which} weights: mean ± standard deviation over n seeds")
    against = paired_table(groups, which, TESTED)
    print_rows(against, f"Paired by seed: mean difference ± 95 % interval; {TESTS}")


TESTS = "paired t-tests, not corrected for their number"


def comparison(groups: Sequence[Group], which: Which) -> str:
    """Return the comparison as Markdown."""
    against = markdown(paired_table(groups, which, TESTED))
    text = f"Test set, {which} weights: mean ± standard deviation over n seeds.\n\n{markdown(table(groups, which))}"
    if against:
        text += f"\nPaired by seed: mean difference ± 95 % interval ({TESTS}).\n\n{against}"
    return text
