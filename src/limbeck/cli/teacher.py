"""`limbeck teacher record RECIPE [key=value ...]`: ask the teacher ahead of training, once for all students."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

teacher = typer.Typer(help="What a teacher answers, kept for many students.", no_args_is_help=True)


@teacher.callback()
def _group() -> None:
    """Make `record` a command of its own name although it is the only one."""


@teacher.command()
def record(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a YAML file, or FILE/ROW")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as teacher.cache=answers")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="the run's folder; teachers that are trained go beside it")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    devices: Annotated[int | None, typer.Option(help="processes on this machine", min=1)] = None,
) -> None:
    """Fill the cache of a recipe's teacher (teacher.cache). The same command continues where it was stopped."""
    from limbeck.recipes.shipped import recipe_tree, run_name

    recipe_tree(recipe)  # a mistyped name is told before anything heavy loads

    from limbeck.memory.sizes import in_words
    from limbeck.recipes.read import read_recipe
    from limbeck.train.progress import Display
    from limbeck.train.runtime import Runtime

    plan = read_recipe(recipe, list(overrides or []))
    runtime = Runtime(accelerator, devices, 1, plan.student.training.precision)
    with Display(silent=not runtime.first) as display:
        recorded = plan.record(folder or Path("runs") / run_name(recipe), runtime, display)
    if runtime.first:
        answers = recorded.answers
        print(
            f"{answers.folder} has the teacher's answers: {in_words(answers.layout.bytes)}, {recorded.cycle} epoch(s)"
        )
