"""What a network's builder may be given: what its signature says, checked before anything is built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, validate_call
from pydantic_core import PydanticCustomError

from limbeck.errors import LimbeckError, nearest

_STRICT = ConfigDict(strict=True)

checked = validate_call(config=_STRICT)
"""Decorator: a wrong type, value or name raises `pydantic.ValidationError` (a `ValueError`)."""


def blocks_plus(each: int, rest: int) -> AfterValidator:
    """Return a check for depths of `each` * n + `rest`, n >= 1: n blocks of `each` layers, and `rest` others."""

    def check(depth: int) -> int:
        if depth < each + rest or (depth - rest) % each:
            examples = ", ".join(str(each * n + rest) for n in (1, 2, 3, 4))
            raise PydanticCustomError(
                "depth",
                "should be {each}n + {rest} ({examples}, ...)",
                {"each": each, "rest": rest, "examples": examples},
            )
        return depth

    return AfterValidator(check)


def check_arguments(
    build: Callable[..., object], model: str, settled: Mapping[str, object], options: Mapping[str, object]
) -> None:
    """Check arguments against a builder's signature without calling it.

    Args:
        build: a class or function whose parameters are all annotated.
        model: the name that the user gave, for the message.
        settled: what the name itself and the data set decide; not open to `options`.
        options: what the user chose.

    Raises:
        LimbeckError: an option that doesn't exist, or any value of the wrong type or out of range.
    """
    types = _parameter_types(build)
    free = types.keys() - settled.keys()
    for option in options:
        if option not in free:
            instead = nearest(option, free) if free else "; it takes none"
            raise LimbeckError(f"model {model!r} has no option {option!r}{instead}")
    for parameter, value in {**settled, **options}.items():
        try:
            _check_of(build, parameter)(value)
        except ValidationError as error:
            raise LimbeckError(f"model {model!r}, {parameter}={value!r}: {_said(error)}") from None


# a study looks at the same few networks hundreds of times
@functools.cache
def _check_of(build: Callable[..., object], parameter: str) -> Callable[..., object]:
    return TypeAdapter(_parameter_types(build)[parameter], config=_STRICT).validate_python


@functools.cache
def _parameter_types(build: Callable[..., object]) -> dict[str, Any]:
    function = build.__init__ if inspect.isclass(build) else build
    hints = get_type_hints(function, include_extras=True)
    return {parameter: hints[parameter] for parameter in inspect.signature(build).parameters}


def _said(error: ValidationError) -> str:
    """Return what was wrong, without pydantic's own wording."""
    message: str = error.errors()[0]["msg"]
    return message.replace("Input should be", "must be")
