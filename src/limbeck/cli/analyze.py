"""`limbeck analyze RUN... --what PICTURE`: what a method did to the gradient, and what networks say."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limbeck.errors import LimbeckError

COUNT, PAGE = 12, Path("confidence.html")


class What(StrEnum):
    """The pictures there are."""

    rescaling = "rescaling"
    confidence = "confidence"
    softening = "softening"


def analyze(
    runs: Annotated[
        list[str],
        typer.Argument(help="run folders, two for confidence; then data.key=value, where its data have moved"),
    ],
    what: Annotated[What, typer.Option(help="which picture")],
    count: Annotated[
        int | None, typer.Option(min=1, help=f"confidence: images in each part [default: {COUNT}]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=f"confidence: where the page goes [default: {PAGE}]")] = None,
) -> None:
    """Draw how a method rescaled the gradient, where two networks err, or how soft targets tend to uniform."""
    from limbeck.report.text import print_rows

    # a folder may have = in its name
    overrides = [word for word in runs if "=" in word and not Path(word).is_dir()]
    folders = [Path(word) for word in runs if word not in overrides]
    wanted = 2 if what is What.confidence else 1
    if len(folders) != wanted:
        raise LimbeckError(f"--what {what.value} takes {wanted} run folder{'s'[: wanted - 1]}, not {len(folders)}")
    for name, given in (("--count", count), ("--out", out), ("data.key=value", overrides or None)):
        if given is not None and what is not What.confidence:
            raise LimbeckError(f"{name} is for --what confidence alone; leave it out")
    if what is What.confidence:
        from limbeck.report.confidence import write_confidence

        page = PAGE if out is None else out
        write_confidence(folders[0], folders[1], overrides, COUNT if count is None else count, page)
        print(f"written: {page}")
        return
    run = folders[0]
    if what is What.rescaling:
        from limbeck.report.rescaling import write_rescaling

        rows, title = write_rescaling(run), f"Gradient of the method by that of the hard labels, {run}"
    else:
        from limbeck.report.softening import write_softening

        rows, title = write_softening(run), f"Softened predictions against the uniform distribution, {run}"
    print_rows(rows, title)
    print(f"written: {run / f'{what.value}.html'}, {run / f'{what.value}.csv'}")
