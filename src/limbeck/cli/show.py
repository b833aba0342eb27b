"""`limbeck show NAME`: a method's card, a model's size, a data source's or a recipe's text."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    name: Annotated[
        str, typer.Argument(help="a method, model, data source or recipe (see limbeck list), or a YAML file")
    ],
) -> None:
    """Show what a name stands for."""
    from limbeck.report.catalogue import describe

    print(describe(name).rstrip())
