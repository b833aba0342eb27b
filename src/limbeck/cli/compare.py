"""`limbeck compare RUN...`: runs side by side."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Which(StrEnum):
    """Which weights of a run."""

    last = "last"
    best = "best"


def compare(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders of run folders")],
    which: Annotated[Which, typer.Option(help="the last weights, or the best on the validation split")] = Which.last,
    out: Annotated[Path, typer.Option(help="where comparison.csv and comparison.md go")] = Path(),
    page: Annotated[Path | None, typer.Option(help="also draw an HTML page")] = None,
    tables: Annotated[Path | None, typer.Option(help="a folder for tables as .csv and .tex")] = None,
    figures: Annotated[Path | None, typer.Option(help="a folder for figures as .svg and .png")] = None,
) -> None:
    """Group runs by recipe up to the seed; print mean ± standard deviation, paired against the first group."""
    from limbeck import files
    from limbeck.report.compare import csv, group, read_runs, require, unfinished
    from limbeck.report.text import comparison, print_comparison

    if figures is not None:
        from limbeck.report.export import check_figures

        check_figures()
    groups = group(read_runs(runs))
    require(groups, which.value)
    for place in unfinished(runs):
        print(f"left out, since it is not finished: {place}", file=sys.stderr)
    print_comparison(groups, which.value)
    files.write(out / "comparison.csv", csv(groups, which.value))
    files.write(out / "comparison.md", comparison(groups, which.value))
    print(f"written: {out / 'comparison.csv'}, {out / 'comparison.md'}")
    if page is not None:
        from limbeck.report.page import write_page

        write_page(groups, which.value, page, "Comparison")
        print(f"written: {page}")
    if tables is not None or figures is not None:
        from limbeck.report.export import comparison_tables, export
        from limbeck.report.page import exhibits

        export(comparison_tables(groups, which.value), exhibits(groups, which.value), tables, figures)
