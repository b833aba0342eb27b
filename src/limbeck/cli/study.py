"""`limbeck study FILE`: a grid of runs with seeds, statistics, and claims that get a verdict."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Scale(StrEnum):
    """How small everything gets."""

    tiny = "tiny"
    small = "small"
    paper = "paper"


def study(
    file: Annotated[str, typer.Argument(help="a YAML file, or a shipped study's name")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, of every cell's recipe")] = None,
    out: Annotated[Path | None, typer.Option(help="the study's folder; studies/NAME if not told")] = None,
    jobs: Annotated[int | None, typer.Option(help="runs at a time, each in a process of its own", min=1)] = None,
    on: Annotated[str, typer.Option(help="here, processes, ray (here, or RAY_ADDRESS), or ray://HOST:PORT")] = "here",
    scale: Annotated[Scale | None, typer.Option(help="of every recipe")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    gpus_per_run: Annotated[float, typer.Option(help="on ray: the share of a GPU that a run takes", min=0)] = 0.0,
    tables: Annotated[Path | None, typer.Option(help="a folder for tables as .csv and .tex")] = None,
    figures: Annotated[Path | None, typer.Option(help="a folder for figures as .svg and .png")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="list the cells, and run nothing")] = False,
) -> None:
    """Run a study and judge its claims. The same command continues a stopped study, and tries failed runs again."""
    from limbeck.report.export import check_figures
    from limbeck.report.study import print_outcome
    from limbeck.report.study_page import export_study, write_study
    from limbeck.report.text import print_rows
    from limbeck.studies.executors import check_place, executor
    from limbeck.studies.make import make, outline, prepare
    from limbeck.train.progress import Display

    check_place(on, gpus_per_run)
    command = shlex.join(["limbeck", *sys.argv[1:]])
    found = prepare(file, out, overrides or [], None if scale is None else scale.value, accelerator, command)
    if dry:
        rows, text = outline(found)
        print_rows(rows, found.study.description or found.name)
        print(text)
        return
    if figures is not None:
        check_figures()
    with Display() as display:
        outcome = make(
            found,
            lambda: executor(on, jobs, gpus_per_run, found, display),
            display,
            lambda outcome: write_study(outcome, found.folder),
        )
    print_outcome(outcome)
    print(f"written: {found.folder / 'report.html'}, report.md, study.json, results.csv, verdicts.csv")
    if tables is not None or figures is not None:
        export_study(outcome, tables, figures)
    if outcome.failures:
        print(f"limbeck: {len(outcome.failures)} run(s) failed; the same command tries them again", file=sys.stderr)
        raise typer.Exit(code=1)
