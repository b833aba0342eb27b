"""`limbeck tune RECIPE... [key=RANGE ...]`: hyper-parameters on the validation split, with an equal budget for all."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def tune(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [key=RANGE ...]",
            help="recipes; fields to search, such as method.alpha=0.1..0.9, optimiser.lr=0.01..1:log or "
            "method.ensemble=naive,linear; other key=value change every recipe",
        ),
    ],
    trials: Annotated[int, typer.Option(help="of each recipe", min=1)] = 12,
    by: Annotated[str, typer.Option(help="the figure of the validation split that chooses, such as nll")] = "error",
    out: Annotated[Path | None, typer.Option(help="the search's folder; tune/RECIPES if not told")] = None,
    jobs: Annotated[int, typer.Option(help="recipes searched at a time, each in a process of its own", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="of each run; another number may give other results", min=1)] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    dry: Annotated[bool, typer.Option("--dry", help="show the spaces and the budget, and run nothing")] = False,
) -> None:
    """Search hyper-parameters; the same command continues a stopped search, a larger --trials goes on with it."""
    from limbeck.errors import LimbeckError
    from limbeck.recipes.shipped import recipe_tree

    recipes = [word for word in words if "=" not in word]
    if not recipes:
        raise LimbeckError("name a recipe to search, such as: limbeck tune digits/kd")
    for recipe in recipes:
        recipe_tree(recipe)  # a mistyped name is told before anything heavy loads

    from limbeck import files
    from limbeck.report.text import print_rows
    from limbeck.report.tune import next_command, print_search, report
    from limbeck.report.tune_page import write_search_page
    from limbeck.train.progress import Display
    from limbeck.tuning.make import left, make, outline
    from limbeck.tuning.results import write_results
    from limbeck.tuning.search import prepare

    found = prepare(
        recipes,
        [word for word in words if "=" in word],
        trials=trials,
        by=by,
        folder=out,
        jobs=jobs,
        threads=threads,
        accelerator=accelerator,
        command=shlex.join(["limbeck", *sys.argv[1:]]),
    )
    if dry:
        rows, text = outline(found)
        print_rows(rows, f"Chosen by {found.by.name} on the validation split")
        print(text)
        return
    with Display(left(found)) as display:
        outcome = make(found, display)
    written = write_results(outcome)
    files.write(found.folder / "report.md", report(outcome))
    write_search_page(outcome, found.folder / "report.html")
    print_search(outcome)
    print(f"written: {found.folder / 'report.html'}, report.md, {', '.join(written)}")
    if (command := next_command(outcome)) is not None:
        print(f"compare on fresh seeds: {command}")
    if any(outcome.best(search.label) is None for search in found.searches):
        print("limbeck: a recipe has no finished trial; the same command tries them again", file=sys.stderr)
        raise typer.Exit(code=1)
