"""Plain values: nested mappings as they stand in recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping's leaves by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def last_stage(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe of the student alone, where a recipe.yaml has stages before it."""
    stages = recipe.get("stages")
    return list(stages.values())[-1] if stages else recipe
