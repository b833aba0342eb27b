"""A recipe's reference on its way to the run: what of the recipe was changed since the numbers were written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.plain import flat
from limbeck.train.job import EFFECTLESS

CHANGED = "changed"
# changed in every repetition of a recipe
_REPEATED = EFFECTLESS | {"seed"}


def reference_of(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any] | None:
    """Return a recipe's reference with a list, `changed`, of what overrides and scale make different.

    Args:
        tree: the recipe's mapping, overrides laid over it.
        overrides: they.

    Returns:
        None where the recipe has no reference that is a mapping.
    """
    given = [text for text in overrides if not _repeated(text.partition("=")[0])]
    scale = tree.get("scale", "paper")
    if scale != "paper" and not any(text.startswith("scale=") for text in given):
        given.append(f"scale={scale}")
    return _changed(tree.get("reference"), given)


def changed_reference(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's mapping whose reference says what was changed; changes with a reference bring their own.

    Args:
        tree: the recipe's mapping, changes laid over it.
        changes: they, with every key that has dots opened.
    """
    given = [f"{key}={value}" for key, value in flat(changes).items() if not _repeated(key)]
    own = changes.get("reference")
    reference = dict(own) if isinstance(own, Mapping) else _changed(tree.get("reference"), given)
    return {**tree, **({} if reference is None else {"reference": reference})}


def _changed(reference: Any, given: Sequence[str]) -> dict[str, Any] | None:
    if not isinstance(reference, Mapping):
        return None
    before = reference.get(CHANGED)
    changed = list(dict.fromkeys([*(before if isinstance(before, list) else []), *given]))
    return {**reference, **({CHANGED: changed} if changed else {})}


def _repeated(key: str) -> bool:
    parts = key.split(".")
    field = ".".join(parts[2:] if parts[0] == "stages" else parts)
    return field in _REPEATED or parts[0] == "reference"
