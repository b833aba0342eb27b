"""From YAML to a plan: override, expand stages, scale, check every name and value before anything runs.

A recipe has the fields of a `Stage`. With `stages:`, each stage starts from the recipe's own fields and changes some:

    data: {source: digits}
    model: resnet8
    method: {name: kd, alpha: 0.9}
    stages:
      teacher: {model: resnet20, method: cross_entropy}
      student: {teacher: {stage: teacher}}

A stage of another task than the recipe's has nothing but the seed from it.

`chain` and `generations` write such stages in a line (see `limbeck.recipes.sequence`). `scale` shrinks a recipe (see
`limbeck.recipes.scale`), and `networks` are more networks that a scale ranks the recipe's own among. `description` says
what the recipe is, `reference` the numbers that it should reach, with their source, and `tune` the space in which
`limbeck tune` searches. Many recipes in one file: see `limbeck.recipes.shipped`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from limbeck.errors import LimbeckError, nearest
from limbeck.models import ModelSpec, check_model
from limbeck.plain import flat
from limbeck.recipes.explain import explain
from limbeck.recipes.parse import merged, opened, parse, renamed
from limbeck.recipes.reference import reference_of
from limbeck.recipes.scale import SCALES, shrunk
from limbeck.recipes.scale_boxes import shrunk_boxes
from limbeck.recipes.scale_text import shrunk_text
from limbeck.recipes.sequence import FIELDS as SEQUENCES
from limbeck.recipes.sequence import unrolled
from limbeck.recipes.shipped import recipe_tree
from limbeck.teachers.plan import Plan, Stage
from limbeck.teachers.teacher import Model

FIELDS = {field.name for field in fields(Stage)}
TOP = FIELDS | {"description", "reference", "scale", "networks", "stages", "tune"}


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Plan:
    """Return the plan of a shipped recipe's name, a YAML file or a row of one, after `key=value` overrides.

    Raises:
        LimbeckError: no such recipe, broken YAML, an unknown key or name (the nearest is suggested), a wrong value.
    """
    return plan(recipe_tree(name), name, overrides)


def plan(tree: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> Plan:
    """Return the checked plan of a recipe's mapping. Overrides have the last word, over the scale too.

    Raises:
        LimbeckError: an unknown key or name (the nearest is suggested), a wrong value, a recipe that cannot be scaled,
            an override that every stage sets otherwise. Where an override was meant for one stage, it is said how.
    """
    given = overrides
    tree, overrides = unrolled(tree, where, overrides)
    try:
        return replace(_planned(tree, where, overrides), reference=reference_of(overridden(tree, overrides), given))
    except LimbeckError as error:
        if (meant := _meant(tree, where, overrides, str(error))) is None:
            raise
        raise LimbeckError(f"{error}; {meant}") from error


def _planned(tree: Mapping[str, Any], where: str, overrides: Sequence[str]) -> Plan:
    changed = overridden(tree, overrides)
    for key in changed:
        if key not in TOP:
            raise LimbeckError(f"{where}: unknown key {key!r}{nearest(key, [*TOP, *SEQUENCES])}")
    networks = _networks(changed, where)
    scale = changed.get("scale", "paper")
    stages = _expanded(changed, where)
    _check_reach(stages, where, overrides)
    if scale == "paper":
        return _plan(stages, where)
    if scale not in list(SCALES):
        raise LimbeckError(f"{where}: scale {scale!r} is unknown{nearest(str(scale), [*SCALES, 'paper'])}")
    # Times are shares of the recipe's own epochs: overrides of epochs come afterwards alone.
    untimed = overridden(tree, [text for text in overrides if not _of_epochs(text)])
    whole = _plan(_expanded(untimed, where), where).stages
    tasks = {stage.task.name for stage in whole.values()}
    shrink = shrunk_boxes if "detection" in tasks else shrunk_text if "translation" in tasks else shrunk
    scaled = shrink(whole, scale, networks, where)
    given: dict[str, Any] = {}
    for text in overrides:
        given = merged(given, _change(text))
    return _plan({name: _given(fields, name, given, tree) for name, fields in scaled.items()}, where)


def _meant(tree: Mapping[str, Any], where: str, overrides: Sequence[str], problem: str) -> str | None:
    """Say for which stages an override may be meant that reaches all of them, where that is what is wrong.

    It is, where leaving it out mends the plan; and for a stage, where giving it to that one alone does, or leads to
    another problem of the right names.
    """

    def left(changes: Sequence[str]) -> str | None:
        try:
            _planned(tree, where, changes)
        except LimbeckError as error:
            return _unstaged(str(error))
        return None

    stages = tree.get("stages")
    for root in sorted(FIELDS) if isinstance(stages, Mapping) and len(stages) > 1 else ():
        own = [text for text in overrides if text.partition("=")[0].split(".")[0] == root]
        if not own or left([text for text in overrides if text not in own]) == _unstaged(problem):
            continue
        moved = {name: {text: f"stages.{name}.{text}" for text in own} for name in stages or ()}
        after = {name: left([new.get(text, text) for text in overrides]) for name, new in moved.items()}
        further = [name for name, other in after.items() if other != _unstaged(problem) and "unknown" not in str(other)]
        if wanted := [name for name in further if after[name] is None] or further:
            return f"write {' or '.join(' '.join(moved[name].values()) for name in wanted)} for one stage alone"
    return None


def _unstaged(problem: str) -> str:
    """Return an error without the name of the stage that it is in."""
    return re.sub(r", stage '[^']*'", "", problem)


def _check_reach(stages: Mapping[str, Any], where: str, overrides: Sequence[str]) -> None:
    """Refuse an override of the fields that stages share which no stage takes over."""
    if len(stages) == 1:
        return
    given: dict[str, Any] = {}
    for text in overrides:
        given = merged(given, _change(text))
    for key, value in flat({key: value for key, value in given.items() if key in FIELDS}).items():
        change: Any = value
        for part in reversed(key.split(".")):
            change = {part: change}
        if not any(_holds(stage, change) for stage in stages.values()):
            raise LimbeckError(f"{where}: each stage sets {key} itself, and the override changes nothing")


def _holds(fields: Any, change: Any) -> bool:
    """Say whether fields are as a change makes them."""
    change, fields = opened(change, fields), opened(fields, change)
    if isinstance(fields, Mapping) and isinstance(change, Mapping):
        return all(key in fields and _holds(fields[key], value) for key, value in change.items())
    return bool(fields == change)


def overridden(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's mapping after `a.b=value` overrides; values are read as YAML.

    Raises:
        LimbeckError: an override is none, or is of a stage that is not there.
    """
    changed = dict(tree)
    for text in overrides:
        change = _change(text)
        stages = changed.get("stages", {"student": {}})
        for stage in change["stages"] if _reaches_stages(text) and isinstance(stages, Mapping) else ():
            if stage not in stages:
                raise LimbeckError(f"override {text!r}: there is no stage {stage!r}{nearest(stage, map(str, stages))}")
        changed = merged(changed, change)
    return changed


def _change(text: str) -> dict[str, Any]:
    """Return what an override changes, as a mapping."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LimbeckError(f"override {text!r}: write key=value, such as training.epochs=10")
    change: Any = parse(f"value: {value}", f"override {text!r}")["value"]
    for part in reversed(key.split(".")):
        change = {part: change}
    return dict(change)


def _reaches_stages(text: str) -> bool:
    parts = text.partition("=")[0].split(".")
    return parts[0] == "stages" and len(parts) > 1


def _of_epochs(text: str) -> bool:
    parts = text.partition("=")[0].split(".")
    return parts[-1] in {"epochs", "keep_epochs", "stop_epoch", "training"} and "training" in parts


def _given(fields: dict[str, Any], stage: str, given: Mapping[str, Any], tree: Mapping[str, Any]) -> Any:
    """Return a stage's fields with overrides over them; the recipe's reach it where it does not set the same itself."""
    own = (tree.get("stages") or {}).get(stage) or {}
    everywhere = {key: value for key, value in given.items() if key in _shared_with(own, tree)}
    result = merged(fields, _reaching(everywhere, own, merged(tree, everywhere)))
    return merged(result, (given.get("stages") or {}).get(stage) or {})


def _reaching(change: Mapping[str, Any], own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a change to the shared fields a stage's own fields leave alone."""
    left: dict[str, Any] = {}
    for key, value in change.items():
        if key not in own:
            left[key] = value
            continue
        mine, theirs, base = own[key], opened(value, own[key]), opened(shared[key], own[key])
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping) and not renamed(base, mine):
            left[key] = _reaching(theirs, mine, base)
    return left


def _expanded(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return each stage's mapping: the recipe's own fields with what the stage changes laid over them."""
    stages = tree.get("stages", {"student": {}})
    if not isinstance(stages, Mapping) or not stages or not all(isinstance(name, str) for name in stages):
        raise LimbeckError(f"{where}: stages is a mapping of names to what each stage changes")
    return {
        name: merged({key: tree[key] for key in tree if key in _shared_with(changes, tree)}, changes or {})
        for name, changes in stages.items()
    }


def _shared_with(changes: Any, tree: Mapping[str, Any]) -> set[str]:
    """Return the fields that a stage has from its recipe: of another task's, which suit none of its own, the seed."""
    own = changes.get("task") if isinstance(changes, Mapping) else None
    return FIELDS if own is None or _task(own) == _task(tree.get("task")) else {"seed"}


def _task(given: Any) -> Any:
    return given.get("name") if isinstance(given, Mapping) else given or "classification"


def _plan(stages: Mapping[str, Any], where: str) -> Plan:
    at = {name: "" if list(stages) == ["student"] else f", stage {name!r}" for name in stages}
    return Plan({name: _stage(tree, f"{where}{at[name]}") for name, tree in stages.items()})


def _stage(tree: Any, where: str) -> Stage:
    if not isinstance(tree, Mapping):
        raise LimbeckError(f"{where}: a stage is a mapping of names to values")
    try:
        return TypeAdapter(Stage).validate_python(dict(tree))
    except ValidationError as error:
        raise LimbeckError(f"{where}: {explain(error, Stage)}") from error


def _networks(tree: Mapping[str, Any], where: str) -> list[ModelSpec]:
    try:
        networks = TypeAdapter(list[Model]).validate_python(tree.get("networks", []))
    except ValidationError as error:
        raise LimbeckError(f"{where}: networks is a list of networks, each a name or a mapping with a name") from error
    try:
        for network in networks:
            check_model(network)
    except LimbeckError as error:
        raise LimbeckError(f"{where}: networks: {error}") from error
    return networks
