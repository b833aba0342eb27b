"""Which fields of a recipe are searched: its method's and matchers' own, and those that are asked for.

A search changes the last stage alone, so that the stages before it are trained once, for all trials.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.errors import LimbeckError, nearest
from limbeck.plain import last_stage
from limbeck.recipes.read import plan
from limbeck.train.job import EFFECTLESS
from limbeck.tuning.space import Axis, Choices, Range

# Fields of methods by their names, which mean the same in each; a recipe's own value widens the range.
RANGES = {
    "alpha": Range(0.05, 0.95),
    "epsilon": Range(0.01, 0.3),
    "temperature": Range(1.0, 20.0, log=True),
}
# Weights of terms, which have no scale in common: the recipe's own value, and up to so many times less or more.
WEIGHTS = ("weight", "inherit", "explore")
TIMES = 10

SEARCHABLE = (
    "method", "matchers", "optimiser", "schedule", "data.views", "data.mix",
    "training.batch_size", "training.clip", "training.ema",
)  # fmt: skip
_SEARCHABLE = (
    "a search is over fields of method, matchers, optimiser, schedule, data.views and data.mix, and over "
    "training.batch_size, .clip and .ema (one value that has a comma goes in quotes)"
)


def default_space(recipe: Mapping[str, Any]) -> dict[str, Axis]:
    """Return the space of a resolved recipe's own hyper-parameters: its method's, and its matchers' weights."""
    stage = last_stage(recipe)
    method = dict(_own("method", stage["method"]))
    return method | {
        key: axis for i, matcher in enumerate(stage["matchers"]) for key, axis in _own(f"matchers.{i}", matcher)
    }


def _own(place: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Axis]]:
    for name, found in fields.items():
        key, value = f"{place}.{name}", found
        if isinstance(found, Mapping):
            # a schedule: the value that it ends with, or begins with
            inner = "final" if "final" in found else "value"
            key, value = f"{key}.{inner}", found.get(inner)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if name in RANGES:
            usual = RANGES[name]
            low = usual.low if usual.log and value <= 0 else min(usual.low, float(value))
            yield key, replace(usual, low=low, high=max(usual.high, float(value)))
        elif name in WEIGHTS and value > 0:
            yield key, Range(_round(value / TIMES), _round(value * TIMES), log=True)


def _round(value: float | int) -> float:
    return round(float(value), 5 - math.floor(math.log10(value)))


def own_key(recipe: Mapping[str, Any], key: str) -> str:
    """Return a key as the last stage has it: without the stage's name in front.

    Raises:
        LimbeckError: it is of another stage.
    """
    parts = key.split(".")
    if parts[0] != "stages":
        return key
    stages = list(recipe.get("stages", {"student": {}}))
    if len(parts) > 1 and parts[1] == stages[-1]:
        return ".".join(parts[2:])
    raise LimbeckError(
        f"{key}: only the last stage, {stages[-1]!r}, is searched; those before it are trained once, for all trials"
    )


def has(recipe: Mapping[str, Any], key: str) -> bool:
    """Say whether the last stage of a resolved recipe has a field."""
    try:
        value_at(recipe, key)
    except LookupError:
        return False
    return True


def value_at(recipe: Mapping[str, Any], key: str) -> Any:
    """Return what the last stage of a resolved recipe has in a field.

    Raises:
        LookupError: it has no such field.
    """
    node: Any = last_stage(recipe)
    for part in key.split("."):
        node = _entry(node, part)
    return node


def _entry(node: Any, part: str) -> Any:
    if isinstance(node, Mapping):
        return node[part]
    if isinstance(node, list) and part.isdecimal():
        return node[int(part)]
    raise LookupError(part)


def with_values(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe whose last stage has other values in these fields."""
    changed = copy.deepcopy(dict(recipe))
    for key, value in values.items():
        *path, name = key.split(".")
        node: Any = last_stage(changed)
        for part in path:
            node = _entry(node, part)
        node[int(name) if isinstance(node, list) else name] = value
    return changed


def check_key(recipes: Sequence[Mapping[str, Any]], key: str, where: str) -> None:
    """Refuse a field that is not to be searched, or that no recipe has.

    Args:
        recipes: resolved ones.
        key: of the last stage's field.
        where: how errors call what is asked for.

    Raises:
        LimbeckError: says which.
    """
    if not any(key.startswith(f"{root}.") or (key == root and "." in root) for root in SEARCHABLE):
        raise LimbeckError(f"{where}: {key} is not searched: {_SEARCHABLE}")
    if key in EFFECTLESS:
        raise LimbeckError(f"{where}: {key} changes no result, and there is nothing to search")
    if not any(has(recipe, key) for recipe in recipes):
        known = {name for recipe in recipes for root in SEARCHABLE for name in _leaves(recipe, root)}
        raise LimbeckError(f"{where}: there is no field {key!r}{nearest(key, known)}")


def _leaves(recipe: Mapping[str, Any], root: str) -> Iterator[str]:
    """Return the keys of all fields below one."""
    try:
        node = value_at(recipe, root)
    except LookupError:
        return
    inner = node if isinstance(node, Mapping) else range(len(node)) if isinstance(node, list) else None
    if inner is None:
        yield root
    for part in inner or ():
        if part != "name":
            yield from _leaves(recipe, f"{root}.{part}")


def checked(recipe: Mapping[str, Any], key: str, axis: Axis, where: str) -> Axis:
    """Return an axis that a recipe's field takes; of a field that takes whole numbers, one of these.

    Raises:
        LimbeckError: the field does not take an end of the range, or one of the choices.
    """

    def taken(value: Any) -> None:
        plan(with_values(recipe, {key: value}), where)

    if isinstance(axis, Choices):
        for value in axis.values:
            taken(value)
        return axis
    whole = replace(axis, whole=True)
    ends = [axis.low, axis.high]
    if all(end == int(end) for end in ends):
        try:
            taken(_between(axis))
        except LimbeckError:
            # ends that are refused as well say what is wrong
            for end in ends:
                taken(int(end))
            return whole
    for end in ends:
        taken(end)
    return axis


def _between(axis: Range) -> float:
    """Return a number of a range of whole ends that is not whole."""
    return axis.low + 0.5
