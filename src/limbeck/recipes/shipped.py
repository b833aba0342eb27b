"""The recipes that come with the package; free of torch."""

from __future__ import annotations

from pathlib import Path

from limbeck.errors import LimbeckError, nearest

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the names of all recipes, such as "pskd/cifar100"."""
    return sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.yaml"))


def recipe_path(name: str) -> Path:
    """Return the file of a recipe, given its name or a path to a file of the user's.

    Raises:
        LimbeckError: there is neither.
    """
    if name in recipe_names():
        return FOLDER / f"{name}.yaml"
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"}:
        raise LimbeckError(f"there is no recipe file {name}")
    raise LimbeckError(f"there is no recipe {name!r}{nearest(name, recipe_names(), see='limbeck list recipes')}")
