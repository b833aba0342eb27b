"""What the generated documentation says of a class: its docstring and its fields, as Markdown tables."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from limbeck.core.config import Kinds, Named
from limbeck.models import ModelSpec

HEAD = ["field", "value", "default", "meaning"]


def fields_table(cls: type) -> str:
    """Return a table of a class's fields, or nothing where it has none."""
    rows = field_rows(cls)
    return table(HEAD, rows) if rows else ""


def classes_table(named: Mapping[str, type]) -> str:
    """Return one table of several classes: a row per name, followed by its fields."""
    rows = []
    for name, cls in named.items():
        rows.append([f"**`{name}`**", "", "", paragraphs(cls).replace("\n\n", " ")])
        rows += field_rows(cls)
    return table(["name, fields", *HEAD[1:]], rows)


def field_rows(cls: Any) -> list[list[str]]:
    """Return name, value, default and meaning of each field."""
    hints = typing.get_type_hints(cls, include_extras=True)
    meaning = attributes(cls)
    return [
        [f"`{field.name}`", words(hints[field.name]), default(field, hints[field.name]), meaning.get(field.name, "")]
        for field in dataclasses.fields(cls)
    ]


def attributes(cls: type) -> dict[str, str]:
    """Read the `Attributes:` of a docstring."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: prose(" ".join(text.split())) for name, text in entries}


def default(field: dataclasses.Field[Any], hint: Any) -> str:
    """Say what a field holds when it is left out."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        names = {cls: name for name, cls in choices(hint).items()}
        return f"`{names[type(value)]}`" if type(value) in names else "its own defaults"
    return "required" if field.default is dataclasses.MISSING else f"`{yaml(field.default)}`"


def yaml(value: Any) -> str:
    """Write a plain value as a recipe does."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(f"{item:.4g}" if isinstance(item, float) else yaml(item) for item in value) + "]"
    return str(value)


def choices(hint: Any) -> dict[str, type]:
    """Return the classes by name that an annotation allows."""
    found: dict[str, type] = {}
    for part in getattr(hint, "__metadata__", ()):
        found |= part.table if isinstance(part, Named) and not isinstance(part, Kinds) else {}
    return found


PLAIN = {
    str: "text",
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    type(None): "`null`",
    Path: "text",
}


def words(hint: Any) -> str:
    """Say in words which values an annotation allows."""
    arguments, origin = get_args(hint), get_origin(hint)
    if hasattr(hint, "__metadata__"):
        return annotated(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is Literal:
        return either(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of: {words(arguments[0])}" if arguments[-1] is Ellipsis else f"list of {len(arguments)} numbers"
    if arguments:
        return either(dict.fromkeys(words(part) for part in arguments))
    return "mapping (below)"


def annotated(hint: Any) -> str:
    """Say in words what an annotation with a range or a table of names allows."""
    plain = get_args(hint)[0]
    if names := choices(hint):
        return either(f"`{name}`" for name in names) + ", or a mapping with `name` and fields"
    if plain is ModelSpec:
        return "a network's name, or a mapping of `name` and options"
    limits = [limit for part in hint.__metadata__ for limit in (part, *getattr(part, "metadata", ()))]
    found = {
        bound: getattr(limit, bound) for limit in limits for bound in ("ge", "gt", "le", "lt") if hasattr(limit, bound)
    }
    low = max((found[bound] for bound in ("ge", "gt") if bound in found), default=None)
    high = min((found[bound] for bound in ("le", "lt") if bound in found), default=None)
    if low is None:
        return words(plain)
    if high is None:
        return f"{words(plain)} {'>' if found.get('gt') == low else '≥'} {low}"
    opening, closing = "(" if found.get("gt") == low else "[", ")" if found.get("lt") == high else "]"
    return f"{words(plain)} in {opening}{low}, {high}{closing}"


def either(options: Iterable[str]) -> str:
    """Join options with commas and a last "or"."""
    *first, last = options
    comma = any(", " in option for option in first)
    return f"{', '.join(first)}{'; or' if comma else ' or'} {last}" if first else last


def prose(text: str) -> str:
    """Escape what Markdown would take for HTML or emphasis, outside `code`; **bold** stays."""
    escape: Callable[[str], str] = lambda part: re.sub(r"<(?=\w)|(?<!\*)\*(?!\*)", r"\\\g<0>", part)  # noqa: E731
    return "".join(part if part.startswith("`") else escape(part) for part in re.split(r"(`[^`]*`)", text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def paragraphs(cls: type) -> str:
    """Return a class's docstring up to its attributes, as Markdown."""
    text = inspect.getdoc(cls) or ""
    blocks = re.split(r"\n(?=Attributes:|Args:)", text)[0].strip().split("\n\n")
    return "\n\n".join(prose(" ".join(block.split())) for block in blocks)
