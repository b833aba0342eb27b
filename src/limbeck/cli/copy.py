"""`limbeck copy NAME [FILE]`: a shipped recipe, a whole table of them, or a shipped study, yours to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def copy(
    name: Annotated[str, typer.Argument(help="of a recipe, a table or a study (see limbeck list)")],
    file: Annotated[Path | None, typer.Argument(help="where to, a file or a folder; by default the own name")] = None,
) -> None:
    """Copy a recipe, complete, or a study to a file of your own; never over an existing one."""
    from limbeck import files
    from limbeck.errors import LimbeckError, nearest
    from limbeck.recipes.shipped import SUFFIXES, find_recipe, recipe_names, recipe_tables, recipe_text
    from limbeck.studies.names import study_names, study_text

    if name in study_names():
        own, text, use, row = f"{name}.yaml", study_text(name), "run it with: limbeck study", ""
    elif "/" in name or name in recipe_tables() or Path(name).suffix in SUFFIXES or Path(name).is_file():
        place, text, use = find_recipe(name), recipe_text(name), "train it with: limbeck train"
        own = place.file.name if place.row is None else f"{place.row}.yaml"
        row = "/ROW" if "\nrows:" in text else ""
    else:
        known = [*recipe_names(), *recipe_tables(), *study_names()]
        raise LimbeckError(f"there is no recipe or study {name!r}{nearest(name, known, see='limbeck list')}")
    target = file or Path(own)
    if target.is_dir():
        target /= own
    if target.exists():
        raise LimbeckError(f"{target} exists already; name another file")
    files.write(target, text)
    print(f"written: {target}; {use} {target}{row}")
