"""`limbeck copy RECIPE [FILE]`: a shipped recipe, or a whole table of them, yours to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def copy(
    recipe: Annotated[str, typer.Argument(help="a recipe's or table's name (see limbeck list recipes)")],
    file: Annotated[
        Path | None, typer.Argument(help="where to, a file or a folder; by default the recipe's own name")
    ] = None,
) -> None:
    """Copy a recipe, complete, to a file of your own; never over an existing one."""
    from limbeck import files
    from limbeck.errors import LimbeckError
    from limbeck.recipes.shipped import find_recipe, recipe_text

    place = find_recipe(recipe)
    name = place.file.name if place.row is None else f"{place.row}.yaml"
    target = file or Path(name)
    if target.is_dir():
        target /= name
    if target.exists():
        raise LimbeckError(f"{target} exists already; name another file")
    text = recipe_text(recipe)
    files.write(target, text)
    row = "/ROW" if "\nrows:" in text else ""
    print(f"written: {target}; train it with: limbeck train {target}{row}")
