"""`limbeck train RECIPE [key=value ...]`: one run, or one per seed; continues where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, or a YAML file")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as training.epochs=10")] = None,
    folder: Annotated[Path | None, typer.Option(help="the run's folder; with --seeds, the folder of all runs")] = None,
    seeds: Annotated[str | None, typer.Option(help="several runs: 0,1,2")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    devices: Annotated[int | None, typer.Option(help="processes on this machine", min=1)] = None,
    nodes: Annotated[int | None, typer.Option(help="machines", min=1)] = None,
) -> None:
    """Train a recipe. The same command continues a run that was stopped or killed."""
    from limbeck.errors import LimbeckError
    from limbeck.recipes import read_recipe, recipe_path
    from limbeck.report.compare import FinishedRun, read_runs
    from limbeck.report.text import print_figures
    from limbeck.train.progress import Display
    from limbeck.train.runtime import Runtime

    chosen = list(overrides or [])
    try:
        numbers = None if seeds is None else [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise LimbeckError(f"--seeds {seeds!r}: write whole numbers with commas, such as 0,1,2") from error
    if numbers is not None and (len(set(numbers)) < len(numbers) or any(text.startswith("seed=") for text in chosen)):
        raise LimbeckError(f"--seeds {seeds!r}: name each seed once, and leave seed= out")
    recipe_path(recipe)
    base = folder or Path("runs") / Path(recipe).with_suffix("").as_posix().strip("/.").replace("/", "-")
    places = {base: chosen} if numbers is None else {base / f"seed-{n}": [*chosen, f"seed={n}"] for n in numbers}
    plans = {place: read_recipe(recipe, wanted) for place, wanted in places.items()}
    precision = next(iter(plans.values())).student.training.precision
    runtime = Runtime(accelerator, devices, nodes, precision)
    with Display(len(plans), silent=not runtime.first) as display:
        for place, plan in plans.items():
            plan.run(place, runtime, display, name=place.name)
    if runtime.first:
        runs: list[FinishedRun] = read_runs(list(plans))
        print_figures(runs)
        print(f"limbeck compare {base} … puts runs side by side; limbeck evaluate {next(iter(plans))} draws a page")
