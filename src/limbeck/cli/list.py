"""`limbeck list [methods|matchers|models|data|recipes]`: the names a recipe may use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    matchers = "matchers"
    models = "models"
    data = "data"
    recipes = "recipes"


def list_names(kind: Annotated[Kind | None, typer.Argument(help="what to list; everything without it")] = None) -> None:
    """List the names that a recipe or a command may use."""
    from limbeck.report.catalogue import catalogue

    for heading, lines in catalogue(None if kind is None else kind.value).items():
        width = 2 + max(map(len, lines))
        if kind is None:
            print(f"{heading}:")
        for name, about in lines.items():
            print(f"{'' if kind else '  '}{name:<{width}}{about}".rstrip())
