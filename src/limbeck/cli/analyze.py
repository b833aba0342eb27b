"""`limbeck analyze RUN... --what PICTURE`: what a method did to the gradient, and what networks say."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limbeck.errors import LimbeckError

COUNT, DRAWS, MAPS = 12, 10, 6


class What(StrEnum):
    """The pictures there are."""

    rescaling = "rescaling"
    confidence = "confidence"
    softening = "softening"
    noise = "noise"
    spread = "spread"
    relevance = "relevance"


# which pictures take an option
TAKEN = {
    "--count": (What.confidence, What.relevance),
    "--out": (What.confidence, What.noise, What.spread, What.relevance),
    "--draws": (What.noise,),
    "--seed": (What.noise,),
    "--accelerator": (What.noise, What.relevance),
    "data.key=value": (What.confidence, What.noise, What.relevance),
}
RUNS = {What.rescaling: 1, What.confidence: 2, What.softening: 1}


def analyze(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="run folders: one for rescaling and softening, two (or RUN/student-1) for confidence, any number for "
            "noise, spread and relevance; then data.key=value, where their data have moved"
        ),
    ],
    what: Annotated[What, typer.Option(help="which picture")],
    count: Annotated[
        int | None,
        typer.Option(min=1, help=f"confidence: images in each part [default: {COUNT}]; relevance: images [{MAPS}]"),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help=f"noise: draws for each standard deviation [default: {DRAWS}]")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="noise: of the noise [default: 0]")] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="noise, relevance: auto, cpu, cuda or mps [default: auto]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="confidence, noise, spread, relevance: where the page goes [default: their name, .html]"),
    ] = None,
) -> None:
    """Draw how a method rescaled the gradient, where networks err and look, how they bear noise, or over-fit."""
    # a folder may have = in its name
    overrides = [word for word in runs if "=" in word and not Path(word).is_dir()]
    folders = [Path(word) for word in runs if word not in overrides]
    wanted = RUNS.get(what, 1)
    if len(folders) < wanted or (what in RUNS and len(folders) > wanted):
        words = f"{wanted} run folder{'s'[: wanted - 1]}{'' if what in RUNS else ' or more'}"
        raise LimbeckError(f"--what {what.value} takes {words}, not {len(folders)}")
    given = {"--count": count, "--out": out, "--draws": draws, "--seed": seed, "--accelerator": accelerator}
    for name, value in (given | {"data.key=value": overrides or None}).items():
        if value is not None and what not in TAKEN[name]:
            only = " and ".join(one.value for one in TAKEN[name])
            raise LimbeckError(f"{name} is for --what {only} alone; leave it out")
    page = Path(f"{what.value}.html") if out is None else out
    if what is What.noise:
        settings = (draws or DRAWS, seed or 0, accelerator or "auto")
        _noise(folders, overrides, page, *settings)
    elif what is What.confidence:
        from limbeck.report.confidence import write_confidence

        write_confidence(folders[0], folders[1], overrides, COUNT if count is None else count, page)
        print(f"written: {page}")
    elif what is What.relevance:
        from limbeck.report.relevance import write_relevance

        write_relevance(folders, overrides, page, count=count or MAPS, accelerator=accelerator or "auto")
        print(f"written: {page}, {page.with_suffix('.csv')}")
    elif what is What.spread:
        from limbeck.report.spread import write_spread
        from limbeck.report.text import print_rows

        print_rows(write_spread(folders, page), "Spread of answers within a class, and over-fitting")
        print(f"written: {page}, {page.with_suffix('.csv')}")
    else:
        _of_one(folders[0], what)


def _noise(folders: list[Path], overrides: list[str], page: Path, draws: int, seed: int, accelerator: str) -> None:
    from limbeck.report.noise import write_noise
    from limbeck.report.text import print_rows
    from limbeck.train.progress import Display

    with Display() as display:
        rows = write_noise(folders, overrides, page, display, draws=draws, seed=seed, accelerator=accelerator)
    over = f"mean ± standard deviation over {draws} draws" if draws > 1 else "one draw"
    print_rows(rows, f"Test error under Gaussian noise of standard deviation d, {over}")
    print(f"written: {page}, {page.with_suffix('.csv')}")


def _of_one(run: Path, what: What) -> None:
    """Draw a picture that goes into the folder of the one run that it is of."""
    from limbeck.report.text import print_rows

    if what is What.rescaling:
        from limbeck.report.rescaling import write_rescaling

        rows, title = write_rescaling(run), f"Gradient of the method by that of the hard labels, {run}"
    else:
        from limbeck.report.softening import write_softening

        rows, title = write_softening(run), f"Softened predictions against the uniform distribution, {run}"
    print_rows(rows, title)
    print(f"written: {run / f'{what.value}.html'}, {run / f'{what.value}.csv'}")
