"""From a study to its runs: cells crossed with axes and seeds, every recipe checked before anything runs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.plain import flat
from limbeck.recipes.parse import merged, parse
from limbeck.recipes.read import plan
from limbeck.recipes.reference import changed_reference
from limbeck.recipes.scale import SCALES
from limbeck.studies.study import Changes, Study, base_tree
from limbeck.teachers.plan import Plan

ONLY = "recipe"


@dataclass(frozen=True)
class Cell:
    """One place of the grid.

    Attributes:
        name: such as "pskd,alpha=0.3"; also of its runs' folders.
        kind: the named cell that it is of; None where the study names none.
        at: the value of each axis that varies it.
        plans: what is trained, by seed.
    """

    name: str
    kind: str | None
    at: dict[str, str]
    plans: dict[int, Plan]

    def run(self, seed: int) -> str:
        """Return the name of a run, and of its folder."""
        return f"{self.name}-seed{seed}"


def expand(study: Study, where: str, overrides: Sequence[str] = (), scale: str | None = None) -> list[Cell]:
    """Return the cells of a study, every recipe of theirs read and checked.

    Args:
        study: it.
        where: its file, which errors name, and beside which recipes are looked for.
        overrides: `key=value`, of every cell's recipe; they have the last word.
        scale: in place of the study's own.

    Raises:
        LimbeckError: two axes, a cell and an axis, or an override and one of these set the same field; two cells are
            the same run; a cell's recipe is broken (the cell is named).
    """
    if any(text.partition("=")[0] == "scale" for text in overrides):
        raise LimbeckError(f"{where}: a study has one scale for all cells: write --scale tiny, not scale=tiny")
    named = {name: _changes(changes, f"{where}, cell {name!r}") for name, changes in study.cells.items()}
    wished = scale or study.scale
    outside: dict[str, Mapping[str, Any]] = {"the study's seeds": {"seed": 0}} | (
        {} if wished is None else {"the study's scale": {"scale": wished}}
    )
    outside["the command line"] = _listed(overrides, where)
    trees: dict[str, dict[str, Any]] = {}
    found: dict[str, tuple[str | None, dict[str, str]]] = {}
    for kind in named or [None]:
        axes = {name: axis for name, axis in study.axes.items() if axis.cells is None or kind in axis.cells}
        changes = {} if kind is None else named[kind]
        recipe = changes.get("recipe", study.recipe)
        own = {key: value for key, value in changes.items() if key != "recipe"}
        setters = [*outside.items(), (f"the cell {kind!r}", own)]
        setters += [(f"the axis {name!r}", change) for name, axis in axes.items() for change in axis.changes.values()]
        _refuse_conflicts(setters, where)
        for chosen in itertools.product(*(axis.changes.items() for axis in axes.values())):
            at = dict(zip(axes, (value for value, _ in chosen), strict=True))
            name = ",".join([*([kind] if kind else []), *(f"{axis}={value}" for axis, value in at.items())]) or ONLY
            tree = base_tree(recipe, Path(where).parent)
            for change in (own, *(change for _, change in chosen)):
                opened = nested(change, f"{where}, cell {name!r}")
                tree = changed_reference(merged(tree, opened), opened)
            trees[name] = tree | ({} if wished is None else {"scale": wished})
            found[name] = kind, at
    trees = ranked(trees, where, overrides)
    cells = [
        Cell(name, *found[name], {seed: _plan(tree, name, where, [*overrides, f"seed={seed}"]) for seed in study.seeds})
        for name, tree in trees.items()
    ]
    _refuse_twins(cells, where)
    return cells


def nested(changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return changes with every key that has dots opened.

    Raises:
        LimbeckError: two keys set the same field.
    """
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        change: Any = nested(value, where) if isinstance(value, Mapping) else value
        for part in reversed(key.split(".")):
            change = {part: change}
        if both := flat(tree).keys() & flat(change).keys():
            raise LimbeckError(f"{where}: {min(both)} is set twice")
        tree = merged(tree, change)
    return tree


def _changes(changes: Changes, where: str) -> dict[str, Any]:
    """Return what a cell changes, as a mapping; a list is one of `key=value`."""
    return _listed(changes, where) if isinstance(changes, list) else changes or {}


def _listed(texts: Sequence[str], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise LimbeckError(f"{where}: {text!r}: write key=value, such as training.epochs=10")
        found[key] = parse(f"value: {value}", f"{where}: {text!r}")["value"]
    return found


def _plan(tree: Mapping[str, Any], cell: str, where: str, overrides: Sequence[str]) -> Plan:
    place = f"{where}, cell {cell!r}"
    try:
        return plan(tree, place, overrides)
    except LimbeckError as error:
        raise error if place in str(error) else LimbeckError(f"{place}: {error}") from error


def ranked(trees: dict[str, dict[str, Any]], where: str, overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return recipes that a scale shrinks with the networks of all, so that each cell keeps its place among them."""
    shrunk = [name for name, tree in trees.items() if tree.get("scale") in list(SCALES)]
    networks: dict[str, dict[str, Any]] = {}
    for name in shrunk:
        for stage in _plan({**trees[name], "scale": "paper"}, name, where, overrides).stages.values():
            for spec in stage.networks:
                plain = {"name": spec.name, **spec.options}
                networks[json.dumps(plain, sort_keys=True)] = plain
    return {
        name: {**tree, "networks": [*tree.get("networks", []), *networks.values()]} if name in shrunk else tree
        for name, tree in trees.items()
    }


# fields of which a name alone may be written
_NAMED = {"method", "model", "optimiser", "schedule", "source", "mix"}


def _field(key: str, value: Any) -> str:
    """Return the field that a leaf is: `method: pskd` is `method.name: pskd`."""
    return f"{key}.name" if isinstance(value, str) and key.rpartition(".")[2] in _NAMED else key


def _meet(one: str, other: str) -> bool:
    """Say whether two fields are one, or one is of the other, of a stage or of all."""
    shared = [re.sub(r"^stages\.[^.]+\.", "", field) for field in (one, other)]
    first, second = (one, other) if "stages." in one and "stages." in other else shared
    return first == second or first.startswith(f"{second}.") or second.startswith(f"{first}.")


def _refuse_conflicts(setters: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> None:
    """Refuse two that set the same field, of which one would silently win."""
    known: dict[str, str] = {}
    for who, changes in setters:
        for field in (_field(key, value) for key, value in flat(changes).items()):
            for other, owner in known.items():
                if owner != who and _meet(field, other):
                    shorter = min(field, other, key=len)
                    raise LimbeckError(f"{where}: {owner} and {who} both set {shorter}: leave it to one of them")
            known[field] = who


def _refuse_twins(cells: Sequence[Cell], where: str) -> None:
    """Refuse two cells that are one run, for what tells them apart reaches neither; and two seeds that are one run."""
    known: dict[str, str] = {}
    for cell in cells:
        contents = {seed: _content(plan) for seed, plan in cell.plans.items()}
        if len(set(contents.values())) < len(contents):
            raise LimbeckError(f"{where}: the seeds of cell {cell.name!r} are the same run: it sets a seed of its own")
        content = next(iter(contents.values()))
        if content in known:
            raise LimbeckError(f"{where}: the cells {known[content]!r} and {cell.name!r} are the same run: remove one")
        known[content] = cell.name


def _content(plan: Plan) -> str:
    plain = plan.plain(list(plan.stages)[-1])
    return json.dumps({key: value for key, value in plain.items() if key != "reference"}, sort_keys=True)
