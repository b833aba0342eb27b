"""`limbeck analyze RUN... --what PICTURE`: what a method did to the gradient, and what networks say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from limbeck.errors import LimbeckError

COUNT, DRAWS, MAPS, EPSILON, TEMPERATURE, THRESHOLD = 12, 10, 6, 0.05, 4.0, 0.5


class What(StrEnum):
    """The pictures there are."""

    rescaling = "rescaling"
    confidence = "confidence"
    softening = "softening"
    noise = "noise"
    spread = "spread"
    cka = "cka"
    active = "active"
    confusion = "confusion"
    relevance = "relevance"
    mimicry = "mimicry"
    capacity = "capacity"
    boxes = "boxes"


# which pictures take an option
TAKEN = {
    "--count": (What.confidence, What.relevance, What.boxes),
    "--out": tuple(what for what in What if what not in {What.rescaling, What.softening}),
    "--draws": (What.noise,),
    "--seed": (What.noise, What.boxes),
    "--layers": (What.cka, What.active),
    "--images": (What.cka, What.active),
    "--epsilon": (What.active,),
    "--temperature": (What.mimicry,),
    "--threshold": (What.boxes,),
    "--accelerator": (What.noise, What.cka, What.active, What.relevance, What.mimicry),
    "data.key=value": (What.confidence, What.noise, What.cka, What.active, What.relevance, What.mimicry, What.boxes),
}
RUNS = {What.rescaling: (1, 1), What.confidence: (2, 2), What.softening: (1, 1), What.cka: (1, 2)}


def analyze(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="run folders: one for rescaling and softening, two (or RUN/student-1) for confidence, one or two for "
            "cka, any number for the others; then data.key=value, where their data have moved"
        ),
    ],
    what: Annotated[What, typer.Option(help="which picture")],
    count: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"images: of each part of confidence, and of boxes [default: {COUNT}]; of relevance [{MAPS}]"
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help=f"noise: draws for each standard deviation [default: {DRAWS}]")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="noise: of the noise [default: 0]; boxes: of the choice of pictures [default: those on which runs "
            "differ most; of one run 0]",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="cka: layers, PATH,PATH [default: ends of stages and blocks]; active: one [default: the last]"
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="cka, active: test images, at most [default: 1000 for cka, 500 for active]"),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help=f"active: share of the energy that may be left out [default: {EPSILON}]")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help=f"mimicry: at which student and teacher are compared [default: {TEMPERATURE:g}]"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=f"boxes: those of a lower score are left out [default: {THRESHOLD:g}]"),
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="noise, cka, active, relevance, mimicry: auto, cpu, cuda or mps [default: auto]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="not of rescaling and softening: where the page goes [default: the picture's name, .html; of one run, "
            "in its folder, and shown in its report.html]"
        ),
    ] = None,
) -> None:
    """Draw what a method did to the gradient, where networks err, over-fit and look, and how they follow teachers."""
    # a folder may have = in its name
    overrides = [word for word in runs if "=" in word and not Path(word).is_dir()]
    folders = [Path(word) for word in runs if word not in overrides]
    given: dict[str, object] = {
        "--count": count,
        "--out": out,
        "--draws": draws,
        "--seed": seed,
        "--accelerator": accelerator,
    }
    given |= {"--layers": layers, "--images": images, "--epsilon": epsilon, "--temperature": temperature}
    given |= {"--threshold": threshold, "data.key=value": overrides or None}
    _check(what, len(folders), given)
    own = folders[0] if len(folders) == 1 and folders[0].is_dir() else Path()
    page = own / f"{what.value}.html" if out is None else out
    if what in {What.mimicry, What.capacity}:
        at = TEMPERATURE if temperature is None else temperature
        _of_teachers(what, folders, overrides, page, at, accelerator or "auto")
    elif what is What.boxes:
        least = THRESHOLD if threshold is None else threshold
        _boxes(folders, overrides, page, count or COUNT, seed, least)
    else:
        _draw(what, folders, overrides, page, layers, count, draws, seed, images, epsilon, accelerator or "auto")
    if own != Path() and out is None:
        from limbeck.report.page import renew_report

        if renew_report(own):
            print(f"written: {own / 'report.html'}, with the picture in it")


def _check(what: What, runs: int, given: Mapping[str, object]) -> None:
    """Refuse a number of runs, or an option, that a picture does not take."""
    least, most = RUNS.get(what, (1, runs))
    if not least <= runs <= most:
        words = f"{least} run folder{'s'[: least - 1]}"
        words += " or more" if what not in RUNS else "" if least == most else f" or {most}"
        raise LimbeckError(f"--what {what.value} takes {words}, not {runs}")
    for name, value in given.items():
        if value is not None and what not in TAKEN[name]:
            only = " and ".join(one.value for one in TAKEN[name])
            raise LimbeckError(f"{name} is for --what {only} alone; leave it out")


def _draw(
    what: What,
    folders: list[Path],
    overrides: list[str],
    page: Path,
    layers: str | None,
    count: int | None,
    draws: int | None,
    seed: int | None,
    images: int | None,
    epsilon: float | None,
    accelerator: str,
) -> None:
    """Draw one of the pictures, with the defaults of each."""
    if what is What.noise:
        _noise(folders, overrides, page, draws or DRAWS, seed or 0, accelerator)
    elif what is What.confidence:
        from limbeck.report.confidence import write_confidence

        write_confidence(folders[0], folders[1], overrides, COUNT if count is None else count, page)
        print(f"written: {page}")
    elif what is What.relevance:
        from limbeck.report.relevance import write_relevance

        write_relevance(folders, overrides, page, count=count or MAPS, accelerator=accelerator)
        print(f"written: {page}, {page.with_suffix('.csv')}")
    elif what is What.spread:
        from limbeck.report.spread import write_spread
        from limbeck.report.text import print_rows

        print_rows(write_spread(folders, page), "Spread of answers within a class, and over-fitting")
        print(f"written: {page}, {page.with_suffix('.csv')}")
    elif what is What.cka:
        _cka(folders, overrides, layers, page, images or 1000, accelerator)
    elif what is What.active:
        share = EPSILON if epsilon is None else epsilon
        _active(folders, overrides, layers, page, images or 500, share, accelerator)
    elif what is What.confusion:
        from limbeck.report.confusion import write_confusion
        from limbeck.report.text import print_rows

        print_rows(write_confusion(folders, page), "Classes most often taken for another: images (% of the class)")
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


def _boxes(runs: list[Path], overrides: list[str], page: Path, count: int, seed: int | None, threshold: float) -> None:
    from limbeck.report.boxes import write_boxes
    from limbeck.report.text import print_rows

    rows = write_boxes(runs, overrides, page, count=count, seed=seed, threshold=threshold)
    print_rows(rows, f"Boxes with a score of at least {threshold:g} in all test pictures")
    print(f"written: {page}, {page.with_suffix('.csv')}")


def _cka(runs: list[Path], overrides: list[str], layers: str | None, page: Path, images: int, accelerator: str) -> None:
    from limbeck.report.cka import write_cka
    from limbeck.report.text import print_rows
    from limbeck.train.progress import Display

    paths = None if layers is None else _named(layers)
    with Display() as display:
        rows, halves = write_cka(runs, overrides, paths, page, display, images=images, accelerator=accelerator)
    print_rows(rows, "How alike layers are: unbiased linear CKA")
    print_rows(halves, "Two halves of a layer's channels")
    print(f"written: {page}, {page.with_suffix('.csv')}")


def _active(
    runs: list[Path],
    overrides: list[str],
    layers: str | None,
    page: Path,
    images: int,
    epsilon: float,
    accelerator: str,
) -> None:
    from limbeck.report.active import write_active
    from limbeck.report.text import print_rows
    from limbeck.train.progress import Display

    paths = [None] if layers is None else _named(layers)
    if len(paths) > 1:
        raise LimbeckError(f"--layers: --what active looks at one layer of each network, not {len(paths)}")
    with Display() as display:
        rows = write_active(
            runs, overrides, paths[0], page, display, images=images, epsilon=epsilon, accelerator=accelerator
        )
    print_rows(rows, "Directions to which the loss responds, and channels that are ever active")
    print(f"written: {page}, {page.with_suffix('.csv')}")


def _of_teachers(
    what: What, folders: list[Path], overrides: list[str], page: Path, temperature: float, accelerator: str
) -> None:
    """Draw a picture of students beside their teachers."""
    from limbeck.report.text import print_rows

    if what is What.capacity:
        from limbeck.report.teacher_size import write_capacity

        rows, title = write_capacity(folders, page), "Students by the size of their teacher: mean ± standard deviation"
    else:
        from limbeck.report.mimicry import write_mimicry

        rows = write_mimicry(folders, overrides, page, temperature=temperature, accelerator=accelerator)
        title = f"Students beside their teachers, KD loss at temperature {temperature:g}"
    print_rows(rows, title)
    print(f"written: {page}, {page.with_suffix('.csv')}")


def _named(layers: str) -> list[str]:
    """Return the layers of --layers, each once."""
    paths = list(dict.fromkeys(path.strip() for path in layers.split(",") if path.strip()))
    if not paths:
        raise LimbeckError("--layers names no layer: give PATH, or PATH,PATH")
    return paths


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
