"""`limbeck list [methods|matchers|models|data|recipes|studies]`: what has a name; `limbeck list layers MODEL`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from limbeck.errors import LimbeckError


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    matchers = "matchers"
    models = "models"
    data = "data"
    recipes = "recipes"
    studies = "studies"
    layers = "layers"


def list_names(
    kind: Annotated[
        Kind | None, typer.Argument(help="what to list; all names without it; layers are those of a MODEL")
    ] = None,
    model: Annotated[
        str | None,
        typer.Argument(help="layers: a model's name, '{name: cnn, width: 4}', or a run's folder (or RUN/student-1)"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="layers: height and width of images [default: 32, or the run's]")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="layers: of the images [default: 3]")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="layers: how many logits [default: 10]")] = None,
) -> None:
    """List the names that a recipe, a study or a command may use, or the layers of a network."""
    if kind is Kind.layers:
        _layers(model, size, channels, classes)
        return
    given = {"MODEL": model, "--size": size, "--channels": channels, "--classes": classes}
    for name, value in given.items():
        if value is not None:
            raise LimbeckError(f"{name} is for limbeck list layers alone; leave it out")
    from limbeck.report.catalogue import catalogue

    for heading, lines in catalogue(None if kind is None else kind.value).items():
        width = 2 + max(map(len, lines))
        if kind is None:
            print(f"{heading}:")
        for name, about in lines.items():
            print(f"{'' if kind else '  '}{name:<{width}}{about}".rstrip())


def _layers(model: str | None, size: int | None, channels: int | None, classes: int | None) -> None:
    if model is None:
        raise LimbeckError("limbeck list layers needs a MODEL: a model's name (limbeck list models) or a run's folder")
    from limbeck.report.layer_list import layer_rows
    from limbeck.report.text import print_rows

    print_rows(layer_rows(model, size, channels, classes), f"Layers of {model}; methods take ends of stages by default")
