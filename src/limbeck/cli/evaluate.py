"""`limbeck evaluate RUN`: a finished run's weights on its test set, or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.compare import Which


def evaluate(
    run: Annotated[Path, typer.Argument(help="a finished run's folder")],
    overrides: Annotated[list[str] | None, typer.Argument(help="data.key=value, to test on other data")] = None,
    which: Annotated[Which, typer.Option(help="the last weights, or the best on the validation split")] = Which.last,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Run the weights over the test set, print the figures, and draw RUN/report.html."""
    from limbeck.metrics.figures import ALL
    from limbeck.plain import evaluated_on, recipe_of
    from limbeck.recipes.read import overridden
    from limbeck.recipes.rerun import evaluate_run
    from limbeck.report.page import write_report
    from limbeck.report.text import print_rows

    rows = []
    for name, values in evaluate_run(run, which.value, list(overrides or []), accelerator).items():
        figures = {figure.name: figure.show(values[figure.key]) for figure in ALL if figure.key in values}
        whose = {} if name == "student" else {"student": name}
        rows.append({**whose, "weights": which.value, **figures})
    print_rows(rows, f"{evaluated_on([overridden(recipe_of(run), list(overrides or []))])}, {run}")
    if not overrides:
        write_report(run, which.value)
        print(f"written: {run / 'report.html'}")
