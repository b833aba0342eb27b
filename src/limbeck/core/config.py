"""Hyper-parameters are the typed fields of the real classes: checked when the class is built, by name when read.

    @configurable
    class Hinton(TargetWriter):
        alpha: Fraction
        temperature: Positive

A wrong type, an unknown name or a value out of range raises `pydantic.ValidationError` (a `ValueError`).
Numbers and flags are strict: neither "0.5" nor true is a fraction. `Named` lets a field hold any class of a
closed table, written in a recipe as its name or as a mapping with `name` and the class's own fields.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, Strict, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import CoreSchema, core_schema
from torch import nn

Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=1)]
Index = Annotated[int, Strict(), Field(ge=0)]
Flag = Annotated[bool, Strict()]

_T = TypeVar("_T")
# what tags an object of a class that no table has; no name of a recipe
_OWN = object()


@dataclass_transform()
def configurable(cls: type[_T]) -> type[_T]:
    """Make a class a dataclass whose fields are validated when it is built."""
    return _configured(cls, eq=True)


@dataclass_transform(eq_default=False)
def configurable_module(cls: type[_T]) -> type[_T]:
    """As `configurable`, for an `nn.Module`, which is compared by identity and whose fields may be modules.

    The module's own `__init__` is taken care of; what a class has to do beyond it belongs into `__post_init__`.
    """
    then = cls.__dict__.get("__post_init__")

    def become_module(self: Any) -> None:
        # pydantic has set the fields behind the module's back
        given = dict(vars(self))
        vars(self).clear()
        nn.Module.__init__(self)
        for name, value in given.items():
            setattr(self, name, value)
        if then is not None:
            then(self)

    cls.__post_init__ = become_module  # type: ignore[attr-defined]
    return _configured(cls, eq=False)


def _configured(cls: type[_T], eq: bool) -> type[_T]:
    built: Any = pydantic_dataclass(cls, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True), eq=eq)
    names = [field.name for field in dataclasses.fields(built) if field.init]
    validate = built.__init__

    @functools.wraps(validate)
    def by_name(self: Any, *values: Any, **named: Any) -> None:
        # pydantic calls a positional argument by its number in errors; its name says more
        fitting = len(values) <= len(names) and not set(names[: len(values)]) & named.keys()
        if fitting:
            named, values = dict(zip(names, values, strict=False)) | named, ()
        validate(self, *values, **named)

    built.__init__ = by_name
    return cast("type[_T]", built)


class Named:
    """Annotation for a field that holds an instance of any class of a table: `Annotated[View, Named(VIEWS)]`.

    Read from `"flip"`, from `{"name": "flip", "probability": 0.5}` or from an instance; written as the mapping.

    Args:
        table: the classes by name.
        own: objects of this class are taken as well, whatever kind of it they are.
    """

    def __init__(self, table: Mapping[str, type], own: type | None = None) -> None:
        self.table, self.own = dict(table), own
        self.names = {cls: name for name, cls in table.items()}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {
            name: core_schema.no_info_before_validator_function(_without_name, handler.generate_schema(cls))
            for name, cls in self.table.items()
        }
        if self.own is not None:
            choices[_OWN] = core_schema.is_instance_schema(self.own)
        return core_schema.tagged_union_schema(
            choices,
            discriminator=self._name_of,
            serialization=core_schema.plain_serializer_function_ser_schema(self._write, info_arg=False),
        )

    def _name_of(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            return value.get("name")
        foreign = self.own is not None and isinstance(value, self.own) and type(value) not in self.names
        return _OWN if foreign else self.names.get(type(value))

    def _write(self, value: Any) -> dict[str, Any]:
        name = self.names.get(type(value), type(value).__qualname__)
        return {"name": name, **(fields_of(value) if dataclasses.is_dataclass(value) else {})}


class Kinds(Named):
    """Annotation for a field that holds one of several classes, told apart by what is in it, not by a name.

    Args:
        table: the classes by kind.
        kind_of: returns the kind of a mapping.
    """

    def __init__(self, table: Mapping[str, type], kind_of: Callable[[Mapping[Any, Any]], str]) -> None:
        super().__init__(table)
        self.kind_of, self.first = kind_of, next(iter(table))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {kind: handler.generate_schema(cls) for kind, cls in self.table.items()},
            discriminator=self._name_of,
            serialization=core_schema.plain_serializer_function_ser_schema(self._write, info_arg=False),
        )

    def _name_of(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self.kind_of(value)
        return self.names.get(type(value), self.first)

    def _write(self, value: Any) -> dict[str, Any]:
        return fields_of(value)


def _without_name(value: Any) -> Any:
    if isinstance(value, str):
        return {}
    if isinstance(value, Mapping):
        return {key: field for key, field in value.items() if key != "name"}
    return value


def fields_of(value: Any) -> dict[str, Any]:
    """Return a configurable object's fields as plain values (numbers, strings, lists, mappings)."""
    plain = TypeAdapter(type(value)).dump_python(value, mode="json")
    return {str(key): field for key, field in plain.items()}
