"""`limbeck copy RECIPE [FILE]`: a shipped recipe, yours to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def copy(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name (see limbeck list recipes)")],
    file: Annotated[
        Path | None, typer.Argument(help="where to, a file or a folder; by default the recipe's own name")
    ] = None,
) -> None:
    """Copy a shipped recipe to a file of your own; never over an existing one."""
    from limbeck import files
    from limbeck.errors import LimbeckError
    from limbeck.recipes.shipped import recipe_path

    source = recipe_path(recipe)
    target = file or Path(source.name)
    if target.is_dir():
        target /= source.name
    if target.exists():
        raise LimbeckError(f"{target} exists already; name another file")
    files.write(target, source.read_text())
    print(f"written: {target}; train it with: limbeck train {target}")
