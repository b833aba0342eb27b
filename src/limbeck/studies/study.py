"""A study as it is written: which runs, from which seeds, and what is claimed of them.

    recipe: digits/baseline
    cells:
      baseline: {method: cross_entropy}
      pskd: {method: pskd}
    axes:
      alpha: {field: method.alpha, values: [0.3, 0.8], cells: [pskd]}
    seeds: 5
    claims:
      - error(pskd) < error(baseline)
      - {claim: "nll(pskd, alpha=0.3) < nll(pskd, alpha=0.8)", source: "Table 2"}

Reading it executes nothing of its author's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, Strict, TypeAdapter, ValidationError

from limbeck.core.config import Count, Index, configurable
from limbeck.errors import LimbeckError, nearest
from limbeck.recipes.explain import explain
from limbeck.recipes.parse import parse
from limbeck.recipes.shipped import recipe_tree
from limbeck.studies.names import SUFFIXES, study_text

Pairing = Literal["seed", "none"]
Level = Annotated[float, Strict(), Field(gt=0, lt=0.5)]
Power = Annotated[float, Strict(), Field(ge=0.5, lt=1)]


@configurable
class Stated:
    """A claim as it is written.

    Attributes:
        claim: such as "error(pskd) < error(baseline)".
        source: who says so.
        says: it in words.
    """

    claim: str
    source: str | None = None
    says: str | None = None


@configurable
class Axis:
    """Something that is varied.

    Attributes:
        values: by name, what each value changes in the recipe; with `field` a list of that field's values.
        field: the one field that is varied, with dots.
        cells: which of the named cells it varies; None varies all.
    """

    values: dict[str, dict[str, Any]] | list[Any]
    field: str | None = None
    cells: list[str] | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("an axis has at least one value")
        if isinstance(self.values, list) and self.field is None:
            raise ValueError("a list of values needs the field that they are of: add field")
        if isinstance(self.values, dict) and self.field is not None:
            raise ValueError("with a field, values is a list of that field's values")
        plain = (str, int, float, bool, type(None))
        if wrong := [value for value in self.values if not isinstance(value, plain)]:
            raise ValueError(f"the value {wrong[0]!r} has no short name: write values as a mapping of names to changes")
        if len(self.changes) < len(self.values):
            raise ValueError("name each value once")
        if self.cells == []:
            raise ValueError("cells is empty, so the axis would vary nothing: name some, or leave cells out for all")

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """What each value changes, by the value's name."""
        if isinstance(self.values, dict):
            return self.values
        return {_name(value): {str(self.field): value} for value in self.values}


def _name(value: Any) -> str:
    """Return a value as it is written in YAML."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _read_axis(value: Any) -> Any:
    """Take the short form of an axis, a mapping of values to what they change."""
    return value if isinstance(value, Axis) or not isinstance(value, dict) or "values" in value else {"values": value}


def _read_claim(value: Any) -> Any:
    return {"claim": value} if isinstance(value, str) else value


def _read_seeds(value: Any) -> Any:
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


Changes = dict[str, Any] | list[str] | None


@configurable
class Study:
    """A grid of runs and what is claimed of them.

    Attributes:
        recipe: that every cell starts from: a shipped recipe's name, a YAML file, FILE/ROW, or a mapping.
        description: what is asked.
        scale: of every recipe; null leaves each recipe its own.
        cells: named variants: a mapping of fields (nested, or with dots) to values, or a list of `key=value`; with a
            `recipe` of its own where it starts from another one.
        axes: what is varied beside; each is crossed with the others and with the cells.
        seeds: of the runs; a number n stands for 0 to n - 1.
        pairing: `seed` compares runs of one seed, which share first weights, order and views; `none` compares means, as
            if runs of one seed had nothing in common (Welch).
        threads: of every run. Sums are cut otherwise by another number, so it belongs to the result.
        significance: the chance, over all claims of the study, that one is decided although there is no difference.
        power: the chance to decide a claim for which "more seeds" is reckoned.
        claims: each a text, or a mapping of `claim`, `source` and `says`, what it says in words.
    """

    recipe: str | dict[str, Any]
    description: str = ""
    scale: Literal["tiny", "small", "paper"] | None = None
    cells: dict[str, Changes] = field(default_factory=dict)
    axes: dict[str, Annotated[Axis, BeforeValidator(_read_axis)]] = field(default_factory=dict)
    seeds: Annotated[list[Index], BeforeValidator(_read_seeds)] = field(default_factory=lambda: [0, 1, 2])
    pairing: Pairing = "seed"
    threads: Count = 1
    significance: Level = 0.05
    power: Power = 0.8
    claims: list[Annotated[Stated, BeforeValidator(_read_claim)]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: name at least one, and each once")
        for name in [*self.cells, *self.axes, *(value for axis in self.axes.values() for value in axis.changes)]:
            if not re.fullmatch(r"[\w+-][\w.+-]*", name):
                raise ValueError(f"the name {name!r} of a cell, an axis or a value has letters, digits, . + - _ only")
        for name, axis in self.axes.items():
            for cell in axis.cells or ():
                if cell not in self.cells:
                    raise ValueError(f"axes.{name}.cells: there is no cell {cell!r}{nearest(cell, self.cells)}")


class Found(NamedTuple):
    """A study that has been read.

    Attributes:
        name: of its file, without the ending.
        study: it.
    """

    name: str
    study: Study


def read_study(name: str) -> Found:
    """Return a study, given a YAML file or a shipped study's name.

    Raises:
        LimbeckError: there is none, or it cannot be read; an unknown key (the nearest is suggested) or a wrong value.
    """
    tree = parse(study_text(name), name)
    try:
        study = TypeAdapter(Study).validate_python(tree)
    except ValidationError as error:
        places = [problem["loc"] for problem in error.errors()]
        axes = {str(place[1]) for place in places if place[:1] == ("axes",) and len(place) > 1}
        which = f", axis {axes.pop()!r}" if len(axes) == 1 else ""
        raise LimbeckError(f"{name}{which}: {explain(error, Study)}") from error
    return Found(Path(name).stem, study)


def base_tree(recipe: str | Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """Return a recipe's mapping, by its name, its mapping, or a file, which may stand beside the study's.

    Raises:
        LimbeckError: there is none.
    """
    if isinstance(recipe, Mapping):
        return dict(recipe)
    near = beside / recipe
    if any(place.suffix in SUFFIXES and place.is_file() for place in (near, near.parent)):
        return recipe_tree(str(near))
    return recipe_tree(recipe)
