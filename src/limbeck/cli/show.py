"""`limbeck show NAME`: a method's card, a model's size, a data source's fields, a recipe's or a study's text."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    name: Annotated[
        str, typer.Argument(help="a method, matcher, model, data source, recipe or study (limbeck list) or a YAML file")
    ],
) -> None:
    """Show what a name stands for."""
    from limbeck.report.catalogue import describe

    print(describe(name).rstrip())
