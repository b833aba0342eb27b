"""From YAML to a plan: parse safely, override, expand stages, check every name and value before anything runs.

A recipe has the fields of a `Stage`. With `stages:`, each stage starts from the recipe's own fields and changes some:

    data: {source: digits}
    model: resnet8
    method: {name: kd, alpha: 0.9}
    stages:
      teacher: {model: resnet20, method: cross_entropy}
      student: {teacher: {stage: teacher}}

`description` says what the recipe is, `reference` the numbers that it should reach, with their source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from yaml.constructor import ConstructorError

from limbeck.errors import LimbeckError, nearest
from limbeck.recipes.explain import explain
from limbeck.recipes.shipped import recipe_path
from limbeck.teachers.plan import Plan, Stage

NOTES = {"description", "reference"}
TOP = {field.name for field in fields(Stage)} | NOTES | {"stages"}


class _Loader(yaml.SafeLoader):
    """Safe YAML, with scalars as YAML 1.2 writes them: 1e-3 is a number, on is a word, and so is a date."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is given twice, of which YAML would silently take the last."""
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise ConstructorError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def _refuse_tag(_: _Loader, node: yaml.Node) -> None:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    raise ConstructorError(problem=f"the tag {tag} means nothing in a recipe", problem_mark=node.start_mark)


_Loader.add_constructor(None, _refuse_tag)
_OTHERWISE = {f"tag:yaml.org,2002:{kind}" for kind in ("float", "bool", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|[0-9]+\.[0-9]*|\.inf|\.nan)$", re.IGNORECASE),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.IGNORECASE), list("tTfF"))


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Plan:
    """Return the plan of a shipped recipe's name or a YAML file, after `key=value` overrides.

    Raises:
        LimbeckError: no such recipe, broken YAML, an unknown key or name (the nearest is suggested), a wrong value.
    """
    try:
        text = recipe_path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LimbeckError(f"{name} cannot be read as text in UTF-8: {error}") from error
    tree = parse(text, name)
    for override in overrides:
        apply_override(tree, override)
    return plan(tree, name)


def parse(text: str, where: str) -> dict[str, Any]:
    """Return a recipe's mapping; nothing in it is executed."""
    try:
        tree = yaml.load(text, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise LimbeckError(f"{where}{line}: broken YAML: {problem}") from error
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise LimbeckError(f"{where}: a recipe is a mapping of names to values")
    return tree


def plan(tree: Mapping[str, Any], where: str) -> Plan:
    """Return the checked plan of a recipe's mapping."""
    for key in tree:
        if key not in TOP:
            raise LimbeckError(f"{where}: unknown key {key!r}{nearest(key, TOP)}")
    shared = {key: value for key, value in tree.items() if key not in NOTES | {"stages"}}
    stages = tree.get("stages", {"student": {}})
    if not isinstance(stages, Mapping) or not stages or not all(isinstance(name, str) for name in stages):
        raise LimbeckError(f"{where}: stages is a mapping of names to what each stage changes")
    return Plan(
        {
            name: _stage(merged(shared, {} if changes is None else changes), f"{where}{_at(name, stages)}")
            for name, changes in stages.items()
        }
    )


def merged(base: Any, changes: Any) -> Any:
    """Return `base` with `changes` laid over it; a mapping that names another class replaces the old one whole."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping) or _renamed(base, changes):
        return changes
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(_opened(base[key], value), value) if key in base else value
    return result


def _renamed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    return "name" in changes and base.get("name") != changes["name"]


def _opened(value: Any, changes: Any) -> Any:
    """Return the long form of a name, where fields are laid over it."""
    return {"name": value} if isinstance(value, str) and isinstance(changes, Mapping) else value


def apply_override(tree: dict[str, Any], text: str) -> None:
    """Apply `a.b=value` to a recipe's mapping; the value is read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LimbeckError(f"override {text!r}: write key=value, such as training.epochs=10")
    change: Any = parse(f"value: {value}", f"override {text!r}")["value"]
    parts = key.split(".")
    stages = tree.get("stages", {"student": {}})
    if parts[0] == "stages" and len(parts) > 1 and isinstance(stages, Mapping) and parts[1] not in stages:
        raise LimbeckError(f"override {text!r}: there is no stage {parts[1]!r}{nearest(parts[1], map(str, stages))}")
    for part in reversed(parts):
        change = {part: change}
    tree.update(merged(tree, change))


def _stage(tree: Any, where: str) -> Stage:
    if not isinstance(tree, Mapping):
        raise LimbeckError(f"{where}: a stage is a mapping of names to values")
    try:
        return TypeAdapter(Stage).validate_python(dict(tree))
    except ValidationError as error:
        raise LimbeckError(f"{where}: {explain(error, Stage)}") from error


def _at(name: str, stages: Mapping[str, Any]) -> str:
    return "" if list(stages) == ["student"] else f", stage {name!r}"
