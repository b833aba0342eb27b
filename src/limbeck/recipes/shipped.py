"""Recipes by name: single files, and tables of many recipes in one file. Free of torch.

A table has `rows:`. Its other keys are what the rows start from, and each row is what it changes:

    description: What the table is.
    data: {source: digits}
    model: resnet8
    rows:
      baseline: {description: Labels alone.}
      pskd: {description: PS-KD., method: pskd}

Row `pskd` of `recipes/digits.yaml` is the recipe `digits/pskd`; of a file of the user's, `mine.yaml/pskd`. Description
and reference are each row's own; a row that has a reference starts from the table's, such as its source.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.errors import LimbeckError, nearest
from limbeck.recipes.parse import merged, parse, write

FOLDER = Path(__file__).parent
SUFFIXES = {".yaml", ".yml"}


class Place(NamedTuple):
    """Where a recipe stands.

    Attributes:
        file: it.
        row: of the file's table; None for the whole file.
    """

    file: Path
    row: str | None = None


def recipe_names() -> list[str]:
    """Return the names of all shipped recipes, such as "pskd/cifar100/resnet18_pskd", by table, in their order."""
    return [f"{table}/{row}" for table, rows in recipe_tables().items() for row in rows]


def recipe_tables() -> dict[str, list[str]]:
    """Return the rows of each shipped table by its name, such as "pskd/cifar100"."""
    return {name: list(_rows(_shipped(path), name)) for name, path in _files().items()}


def find_recipe(name: str) -> Place:
    """Return where a recipe, a row of a table, or a table stands, given its name or a path to a file of the user's.

    Raises:
        LimbeckError: there is none; the nearest is suggested.
    """
    table, _, row = name.rpartition("/")
    path = _files().get(table, Path(table))
    if path.suffix in SUFFIXES and path.is_file():
        return _row(path, table, row)
    path = _files().get(name, Path(name))
    if path.is_file():
        return Place(path)
    missing = next((part for part in (name, table) if Path(part).suffix in SUFFIXES), None)
    if missing is not None:
        raise LimbeckError(f"there is no recipe file {missing}")
    raise LimbeckError(f"there is no recipe {name!r}{nearest(name, recipe_names(), see='limbeck list recipes')}")


def recipe_tree(name: str) -> dict[str, Any]:
    """Return a recipe's mapping, complete: that of a row is its table's with the row laid over it.

    Raises:
        LimbeckError: there is none, it cannot be read, or it is a table and no row of it is named.
    """
    file, row = find_recipe(name)
    tree = _tree(file, name if row is None else name.rpartition("/")[0])
    if row is not None:
        return _laid(tree, row)
    if "rows" in tree:
        raise LimbeckError(f"{name} is a table: name one of its rows, such as {name}/{_listed(_rows(tree, name))}")
    return tree


def recipe_text(name: str) -> str:
    """Return a recipe as YAML: a file as it stands, a row complete.

    Raises:
        LimbeckError: there is none, or it cannot be read.
    """
    file, row = find_recipe(name)
    return _text(file, name) if row is None else write(recipe_tree(name))


def run_name(name: str) -> str:
    """Return what a recipe's run is called unless the user says otherwise, such as "digits-pskd"."""
    place = find_recipe(name)
    path = Path(name) if place.row is None else Path(name).parent
    base = path.with_suffix("") if path.suffix in SUFFIXES else path
    return (base / (place.row or "")).as_posix().strip("/.").replace("/", "-")


def _files() -> dict[str, Path]:
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in sorted(FOLDER.rglob("*.yaml"))}


def _row(path: Path, table: str, row: str) -> Place:
    rows = _rows(_tree(path, table), table)
    if row not in rows:
        # by the row alone: the same table in front makes all names alike
        close = difflib.get_close_matches(row, rows, n=1)
        see = "see limbeck list recipes" if path.is_relative_to(FOLDER) else f"see {path}"
        hint = f"did you mean '{table}/{close[0]}'?" if close else see
        raise LimbeckError(f"there is no recipe '{table}/{row}'; {hint}")
    return Place(path, row)


def _rows(tree: Mapping[str, Any], where: str) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a table, checked."""
    rows = tree.get("rows", {})
    if not isinstance(rows, Mapping) or ("rows" in tree and not rows):
        raise LimbeckError(f"{where}: rows is a mapping of names to what each row changes")
    for name, changes in rows.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise LimbeckError(f"{where}: row {name!r}: a row's name has letters, digits, - and _ only")
        if changes is not None and not isinstance(changes, Mapping):
            raise LimbeckError(f"{where}: row {name!r} is a mapping of what it changes; it is {changes!r}")
    return {name: changes or {} for name, changes in rows.items()}


def _laid(tree: Mapping[str, Any], row: str) -> dict[str, Any]:
    """Return a table's row as a whole recipe, with what it says of itself on top."""
    changes = tree["rows"][row] or {}
    base = {key: value for key, value in tree.items() if key != "rows"}
    whole: dict[str, Any] = merged(base, changes)
    notes = {key: whole[key] for key in ("description", "reference") if key in changes}
    return notes | {key: value for key, value in whole.items() if key not in {"description", "reference"}}


def _listed(rows: Mapping[str, Any]) -> str:
    first, *rest = rows
    return first + (f" (also: {', '.join(rest)})" if rest else "")


def _tree(path: Path, where: str) -> dict[str, Any]:
    return _shipped(path) if path.is_relative_to(FOLDER) else parse(_text(path, where), where)


@functools.cache
def _shipped(path: Path) -> dict[str, Any]:
    """Return the mapping of a file of the package, which nobody changes."""
    return parse(path.read_text(encoding="utf-8"), path.name)


def _text(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LimbeckError(f"{where} cannot be read as text in UTF-8: {error}") from error
