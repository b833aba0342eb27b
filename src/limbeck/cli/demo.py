"""`limbeck demo`: a real comparison on embedded real data, in about a minute, with a page to open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

METHODS = ("baseline", "label_smoothing", "kd", "pskd")


def demo(
    folder: Annotated[Path, typer.Option(help="where the runs and the page go")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(help="runs per method", min=1)] = 3,
) -> None:
    """Train a teacher and four students on handwritten digits, compare them, and draw a page."""
    from limbeck.recipes import read_recipe
    from limbeck.report.compare import group, read_runs
    from limbeck.report.page import write_page
    from limbeck.report.text import print_comparison
    from limbeck.train.progress import Display
    from limbeck.train.runtime import Runtime

    runtime = Runtime("cpu", devices=1, nodes=1)
    places = {
        folder / f"{method}-seed-{seed}": read_recipe(f"digits/{method}", [f"seed={seed}"])
        for method in METHODS
        for seed in range(seeds)
    }
    with Display(len(places) + seeds) as display:
        for place, plan in places.items():
            plan.run(place, runtime, display, name=place.name)
    groups = group(read_runs([*places, folder / "stages"]))
    print_comparison(groups, "last")
    write_page(groups, "last", folder / "report.html", "Four ways to train a small network on handwritten digits")
    print(f"\nReliability, risk-coverage and learning curves: {folder / 'report.html'}")
    print("Each number is what came out; with so small a test set, differences within ± may be noise.")
    print("Next: limbeck list, limbeck show pskd, limbeck copy digits/pskd, limbeck train")
