"""The space of a search as it is written, of one field each.

method.alpha=0.1..0.9            numbers between two ends, both included
method.temperature=1..20:log     likewise, evenly over their logarithm
method.ensemble=naive,linear     one of these
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from limbeck.errors import LimbeckError
from limbeck.recipes.parse import parse

DIGITS = 4

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
# what is meant as a range, if it is one or not; a path, such as ../data, is not
_MEANT = re.compile(rf"{_NUMBER} *\.\.(?!/).*|[^/]*\.\. *{_NUMBER} *(:\w*)?")
_WRITE = "write LOW..HIGH, such as 0.1..0.9, or 1..20:log"


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: search evenly over the logarithm.
        whole: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{_short(self.low)}..{_short(self.high)}" + (":log" if self.log else "")

    @property
    def points(self) -> list[Any] | None:
        """Its values, where they can be counted."""
        return list(range(int(self.low), int(self.high) + 1)) if self.whole else None

    def holds(self, value: Any) -> bool:
        """Say whether a value of a recipe is in this range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or value == int(value))

    def spelled(self, value: Any) -> Any:
        """Return a value of this range as it has it."""
        return int(value) if self.whole else float(value)

    def tidied(self, value: float | int) -> float | int:
        """Return a value of this range with so few digits that it can be read, written and typed."""
        if self.whole:
            return int(value)
        digits = DIGITS - 1 - math.floor(math.log10(self.high - self.low))
        if self.log:
            digits = max(digits, DIGITS - 1 - math.floor(math.log10(value)))
        return min(max(round(float(value), digits), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """One of a few values.

    Attributes:
        values: they, each once.
    """

    values: tuple[Any, ...]

    def __str__(self) -> str:
        """Return it as it is written."""
        return ",".join(written(value) for value in self.values)

    @property
    def points(self) -> list[Any]:
        """Its values."""
        return list(self.values)

    def holds(self, value: Any) -> bool:
        """Say whether a value of a recipe is one of these."""
        return any(_same(own, value) for own in self.values)

    def spelled(self, value: Any) -> Any:
        """Return one of these values as it is among them."""
        return self.values[self.place(value)]

    def place(self, value: Any) -> int:
        """Return which of these a value is, counted from 0."""
        return next(i for i, own in enumerate(self.values) if _same(own, value))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)  # True == 1


Axis: TypeAlias = Range | Choices


def read_axis(text: str, where: str) -> Axis | None:
    """Return the range or the choices that a text stands for; None where it is one value.

    Args:
        text: it.
        where: how errors call it, the text with it.

    Raises:
        LimbeckError: it is meant as one of them, and is none.
    """
    text = text.strip()
    if _MEANT.fullmatch(text):
        return _range(text, where)
    # in quotes or brackets it is one text, one list or one mapping
    if "," not in text or text[:1] in {"'", '"', "[", "{"}:
        return None
    parts = [part.strip() for part in text.split(",")]
    values = [parse(f"value: {part}", where)["value"] for part in parts]
    if not all(parts) or any(isinstance(value, dict | list) for value in values):
        raise LimbeckError(f"{where}: choices are single values with commas between them, such as naive,linear")
    found = Choices(tuple(values))
    if twice := [value for i, value in enumerate(values) if found.place(value) != i]:
        raise LimbeckError(f"{where}: {written(twice[0])} is there twice: name each choice once")
    return found


def _range(text: str, where: str) -> Range:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise LimbeckError(f"{where} is no range: {_WRITE}")
    low, high, log = float(found[1]), float(found[2]), found[3] is not None
    if not math.isfinite(high - low):
        raise LimbeckError(f"{where}: the ends of a range are finite numbers")
    if low >= high:
        why = "its ends are equal" if low == high else "its low end is above its high one"
        raise LimbeckError(f"{where}: the range is empty: {why}")
    if log and low <= 0:
        raise LimbeckError(f"{where}: only what is above 0 has a logarithm: raise the low end, or leave :log out")
    return Range(low, high, log)


def written(value: Any) -> str:
    """Return a single value as it is written in a recipe."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return _short(value) if isinstance(value, float) else str(value)


def _short(value: float) -> str:
    return f"{value:.12g}"
