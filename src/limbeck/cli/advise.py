"""`limbeck advise`: which method to train a network with, found by a tournament within a budget."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def advise(
    data: Annotated[str, typer.Option(help="a data source's name, or a folder with train/CLASS/… and test/CLASS/…")],
    student: Annotated[str, typer.Option(help="the network to train: a name, or '{name: cnn, width: 8}'")],
    budget: Annotated[str, typer.Option(help="time for all of it: 90s, 30m, 2h, 1h30m")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, of every candidate's recipe")] = None,
    teacher: Annotated[str | None, typer.Option(help="a network to teach it, or a finished run's folder")] = None,
    epochs: Annotated[int, typer.Option(help="of a full training", min=1)] = 60,
    seeds: Annotated[int, typer.Option(help="of the final", min=2)] = 3,
    by: Annotated[str, typer.Option(help="the figure that decides: error, nll, brier, ece, aurc, …")] = "error",
    methods: Annotated[str | None, typer.Option(help="only these candidates, such as kd,pskd")] = None,
    out: Annotated[Path | None, typer.Option("--out", "--folder", help="advice/NAME if not told")] = None,
    jobs: Annotated[int, typer.Option(help="runs at a time, each in a process of its own", min=1)] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    dry: Annotated[bool, typer.Option("--dry", help="measure, print the plan, and keep nothing")] = False,
) -> None:
    """Recommend a method for your data and network, or to train plainly. The same command continues what was stopped.

    Candidates are halved by their validation error in ever longer trainings; the best meets plain training on the test
    set, with seeds that chose nothing.
    """
    from limbeck.advice.make import advised, planned_for
    from limbeck.advice.question import ask
    from limbeck.report.advice import print_advice
    from limbeck.report.advice_page import write_advice
    from limbeck.report.advice_plan import print_plan
    from limbeck.studies.executors import cores
    from limbeck.train.progress import Display

    question = ask(
        data,
        student,
        teacher,
        budget,
        epochs=epochs,
        seeds=seeds,
        by=by,
        methods=methods,
        overrides=overrides or [],
    )
    folder = out or Path("advice") / question.name
    with Display() as display:
        planned = planned_for(question, folder, accelerator, jobs, display, dry)
    print_plan(planned)
    if jobs == 1 and (room := cores()) > 2:
        print(f"{room} cores are here: --jobs {room} makes as many runs at a time, of one thread each.")
    if dry:
        return
    command = shlex.join(["limbeck", *sys.argv[1:]])
    with Display() as display:
        advice = advised(planned, folder, accelerator, jobs, command, display)
    write_advice(advice)
    print_advice(advice)
    print(f"written: {folder / 'report.html'}, report.md, recipe.yaml, advice.json, final/")
    if failed := len(advice.final.failures):
        print(f"limbeck: {failed} run(s) of the final failed; the same command tries them again", file=sys.stderr)
        raise typer.Exit(code=1)
