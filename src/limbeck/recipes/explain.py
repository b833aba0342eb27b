"""One human sentence for a pydantic error: where, what, and the nearest name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from limbeck.core.config import Named
from limbeck.errors import nearest

# What each kind of error asks for; kinds that are not here keep pydantic's own words.
WANTED = {
    "bool_type": "true or false",
    "dataclass_exact_type": "a mapping of names to values",
    "dataclass_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "string_type": "a text",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}


def explain(error: ValidationError, root: type) -> str:
    """Return the first problem of a failed validation of `root`, in words.

    A value that fits no branch of a union is reported by the branch that went furthest.
    """
    first = max(error.errors(), key=_tells)
    kind, context, given = first["type"], first.get("ctx", {}), first["input"]
    if kind == "unexpected_keyword_argument":
        path, owner, _ = _walk(root, first["loc"][:-1])
        key, known = str(first["loc"][-1]), [field.name for field in dataclasses.fields(owner)]
        return f"unknown key {key!r}" + (f" in {'.'.join(path)}" if path else "") + nearest(key, known)
    path, _, names = _walk(root, first["loc"])
    match kind:
        case "union_tag_invalid":
            problem = f"unknown name {context['tag']!r}{nearest(context['tag'], names)}"
        case "union_tag_not_found":
            problem = f"give a name ({', '.join(sorted(names))}), or a mapping with 'name' and fields; not {given!r}"
        case "missing" | "missing_argument":
            return f"{'.'.join(path)} is missing"
        case "value_error":
            problem = str(context["error"])
        case _ if kind in WANTED:
            problem = f"must be {WANTED[kind].format(**context)}; it is {given!r}"
        case _:
            problem = f"{first['msg'][0].lower()}{first['msg'][1:]}; it is {given!r}"
    return ": ".join([".".join(path), problem]) if path else problem


def _tells(problem: ErrorDetails) -> tuple[int, bool, bool]:
    """Rank problems: the deepest says most; a wrong key before a missing one; our own words or a name before a type."""
    kind = problem["type"]
    said = kind == "value_error" or (kind == "union_tag_invalid" and isinstance(problem["input"], Mapping))
    return len(problem["loc"]), kind == "unexpected_keyword_argument", said


def _walk(root: type, loc: tuple[int | str, ...]) -> tuple[list[str], type, list[str]]:
    """Return a location without pydantic's own markers, the last class on it, and the names of its last table."""
    path: list[str] = []
    candidates: dict[str, type] = {}
    owner = root
    for step in loc:
        if step in candidates:
            owner = candidates[str(step)]
        elif isinstance(step, int):
            path.append(str(step))
        elif step in {field.name for field in dataclasses.fields(owner)}:
            path.append(step)
            hint = get_type_hints(owner, include_extras=True)[step]
            candidates = _tables(hint)
            owner = _dataclass(hint) or owner
    return path, owner, list(candidates)


def _tables(hint: Any) -> dict[str, type]:
    """Return the classes by name of every `Named` inside an annotation."""
    found: dict[str, type] = {}
    for part in get_args(hint):
        found |= part.table if isinstance(part, Named) else _tables(part)
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Named):
            found |= part.table
    return found


def _dataclass(hint: Any) -> type | None:
    """Return the first dataclass inside an annotation."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    return next((found for part in get_args(hint) if (found := _dataclass(part)) is not None), None)
