"""Recipes as text and as mappings: parsed safely, merged, written. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from limbeck.errors import LimbeckError

_NUMBER = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|[0-9]+\.[0-9]*|\.inf|\.nan)$", re.IGNORECASE)


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
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.IGNORECASE), list("tTfF"))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this or a common reader of YAML would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that stands in two places twice."""
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))


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
        raise LimbeckError(f"{where}: must be a mapping of names to values")
    return tree


def write(tree: Mapping[str, Any]) -> str:
    """Return a recipe's mapping as YAML that `parse` reads as the same mapping, innermost mappings on one line."""
    return yaml.dump(
        dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None
    )


def merged(base: Any, changes: Any) -> Any:
    """Return `base` with `changes` laid over it; a mapping that names another class replaces the old one whole."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping) or renamed(base, changes):
        return changes
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(opened(base[key], value), value) if key in base else value
    return result


def renamed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Say whether `changes` name another class than `base`."""
    return "name" in changes and base.get("name") != changes["name"]


def opened(value: Any, changes: Any) -> Any:
    """Return the long form of a name, where fields are laid over it."""
    return {"name": value} if isinstance(value, str) and isinstance(changes, Mapping) else value
