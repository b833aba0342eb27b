"""Single fields of a recipe, given as arguments: read and checked as a recipe's are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from limbeck.core.config import Count, Index, Named, configurable, fields_of
from limbeck.core.matcher import Matcher
from limbeck.core.writer import TargetWriter
from limbeck.errors import LimbeckError
from limbeck.matching import MATCHERS
from limbeck.memory.formats import Precision
from limbeck.recipes.explain import explain
from limbeck.targets import METHODS
from limbeck.train.loop import Training
from limbeck.train.optimisers import OPTIMISERS, OptimiserChoice
from limbeck.train.rates import RATES, Rate

_T = TypeVar("_T")


@configurable
class _Method:
    """A method as a recipe writes it."""

    method: Annotated[TargetWriter, Named(METHODS)]


@configurable
class _Matched:
    """Matchers as a recipe writes them."""

    matchers: tuple[Annotated[Matcher, Named(MATCHERS, own=Matcher)], ...]


@configurable
class Choices:
    """The other arguments of `distil` that can be written as in a recipe."""

    optimiser: Annotated[OptimiserChoice, Named(OPTIMISERS)]
    schedule: Annotated[Rate, Named(RATES)]
    training: Training
    seed: Index


@configurable
class Cache:
    """How a teacher's answers are kept, and when views come again: fields of a recipe's `teacher` and `data`."""

    cache: str | None
    cache_dtype: Precision
    cache_top_k: Count | None
    view_seed: Index | None
    cycle: Count | None

    def __post_init__(self) -> None:
        if self.cache is None and (self.cache_dtype != "float32" or self.cache_top_k is not None):
            raise ValueError(
                "cache_dtype and cache_top_k say how answers are recorded: set cache too, or leave them out"
            )
        if self.cache is not None and (self.view_seed is None or self.cycle is None):
            raise ValueError("cache replays answers to views that come again: set view_seed and cycle")


def read_method(method: str | Mapping[str, Any] | TargetWriter) -> TargetWriter:
    """Return a method by its name, by its name and fields, or as it is.

    Raises:
        LimbeckError: there is no such method, or no such field.
    """
    return method if isinstance(method, TargetWriter) else checked(_Method, {"method": method}).method


def read_matchers(matchers: Sequence[str | Mapping[str, Any] | Matcher]) -> list[Matcher]:
    """Return matchers, likewise.

    Raises:
        LimbeckError: there is no such matcher, or no such field; or it is no list.
    """
    if isinstance(matchers, str) or not isinstance(matchers, Sequence):
        raise LimbeckError('matchers is a list, such as ["at"]')
    return list(checked(_Matched, {"matchers": tuple(matchers)}).matchers)


def checked(kind: type[_T], given: Mapping[str, Any]) -> _T:
    """Return an object of that kind.

    Raises:
        LimbeckError: what is given is not what its fields take.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except ValidationError as error:
        raise LimbeckError(explain(error, kind)) from error


def described(chosen: TargetWriter | Matcher, table: Mapping[str, type]) -> dict[str, Any]:
    """Return a method or matcher as a recipe would write it; one of the user's own goes by its class's name."""
    names = {cls: name for name, cls in table.items()}
    name = names.get(type(chosen), type(chosen).__qualname__)
    return {"name": name, **(fields_of(chosen) if is_dataclass(chosen) else {})}
