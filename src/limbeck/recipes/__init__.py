"""Recipes: YAML that names classes from closed tables and sets their fields. Reading one executes nothing in it.

Their names and files come without torch; `read_recipe`, which needs every class, loads when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limbeck.recipes.shipped import recipe_names as recipe_names
from limbeck.recipes.shipped import recipe_tree as recipe_tree

if TYPE_CHECKING:
    from limbeck.recipes.read import read_recipe as read_recipe


def __getattr__(name: str) -> Any:
    """Load `read_recipe`."""
    if name != "read_recipe":
        raise AttributeError(f"module 'limbeck.recipes' has no attribute {name!r}")
    from limbeck.recipes.read import read_recipe

    return read_recipe
