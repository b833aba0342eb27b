"""`limbeck train RECIPE [key=value ...]`: one run, or one per seed; continues where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a YAML file, or FILE/ROW")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as training.epochs=10")] = None,
    folder: Annotated[Path | None, typer.Option(help="the run's folder; with --seeds, the folder of all runs")] = None,
    seeds: Annotated[str | None, typer.Option(help="several runs: 0,1,2")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    devices: Annotated[int | None, typer.Option(help="processes on this machine", min=1)] = None,
    nodes: Annotated[int | None, typer.Option(help="machines", min=1)] = None,
) -> None:
    """Train a recipe. The same command continues a run that was stopped or killed."""
    from limbeck.recipes.shipped import recipe_tree, run_name

    recipe_tree(recipe)  # a mistyped name is told before anything heavy loads
    chosen = list(overrides or [])
    base = folder or Path("runs") / run_name(recipe)
    places = {base: chosen}
    if seeds is not None:
        places = {base / f"seed-{number}": [*chosen, f"seed={number}"] for number in _numbers(seeds, chosen)}

    from limbeck.recipes.read import read_recipe
    from limbeck.report.compare import read_runs
    from limbeck.report.text import print_figures
    from limbeck.train.progress import Display
    from limbeck.train.runtime import Runtime

    plans = {place: read_recipe(recipe, wanted) for place, wanted in places.items()}
    runtime = Runtime(accelerator, devices, nodes, next(iter(plans.values())).student.training.precision)
    with Display(len(plans), silent=not runtime.first) as display:
        for place, plan in plans.items():
            plan.run(place, runtime, display, name=place.name)
    if runtime.first:
        print_figures(read_runs(plans))
        print(f"limbeck compare {base} … puts runs side by side; limbeck evaluate {next(iter(plans))} draws a page")


def _numbers(seeds: str, overrides: Sequence[str]) -> list[int]:
    """Return the seeds of `--seeds`."""
    from limbeck.errors import LimbeckError

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise LimbeckError(f"--seeds {seeds!r}: write whole numbers with commas, such as 0,1,2") from error
    if len(set(numbers)) < len(numbers) or any(override.startswith("seed=") for override in overrides):
        raise LimbeckError(f"--seeds {seeds!r}: name each seed once, and leave seed= out")
    return numbers
