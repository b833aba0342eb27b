"""One human sentence for a pydantic error: where, what, and the nearest name."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError

from limbeck.core.config import Named
from limbeck.errors import nearest


def explain(error: ValidationError, root: type) -> str:
    """Return the first problem of a failed validation of `root`, in words.

    A value that fits no branch of a union is reported by the branch that went furthest.
    """
    first = max(error.errors(), key=lambda problem: len(problem["loc"]))
    path, owner = _walk(root, first["loc"])
    where = ".".join(path) or "the recipe"
    kind, context = first["type"], first.get("ctx", {})
    if kind == "unexpected_keyword_argument":
        known = [field.name for field in dataclasses.fields(owner)]
        inside = ".".join(path[:-1])
        return f"unknown key {path[-1]!r}" + (f" in {inside}" if inside else "") + nearest(path[-1], known)
    if kind == "union_tag_invalid":
        names = [name.strip(" '") for name in context["expected_tags"].split(",")]
        return f"{where}: unknown name {context['tag']!r}{nearest(context['tag'], names)}"
    if kind == "union_tag_not_found":
        return f"{where}: give a name, or a mapping with 'name' and fields; not {first['input']!r}"
    if kind in {"missing", "missing_argument"}:
        return f"{where} is missing"
    if kind == "value_error":
        return f"{where}: {context['error']}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {message}; it is {first['input']!r}"


def _walk(root: type, loc: tuple[int | str, ...]) -> tuple[list[str], type]:
    """Return a location without pydantic's own markers, and the last class on it."""
    path: list[str] = []
    candidates: dict[str, type] = {}
    owner = root
    for step in loc:
        if step in candidates:
            owner = candidates[str(step)]
        elif isinstance(step, int) or step in {field.name for field in dataclasses.fields(owner)}:
            path.append(str(step))
            if not isinstance(step, int):
                hint = get_type_hints(owner, include_extras=True)[step]
                candidates = _tables(hint)
                owner = _dataclass(hint) or owner
        elif step == loc[-1] and not any(mark in str(step) for mark in "-["):
            path.append(str(step))
    return path, owner


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
    for part in (hint, *get_args(hint)):
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            return part
    return None
