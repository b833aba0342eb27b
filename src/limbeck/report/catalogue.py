"""What there is: methods, matchers, models, data sources, recipes and studies, with their cards."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError, nearest
from limbeck.recipes.parse import parse
from limbeck.recipes.sequence import shown
from limbeck.recipes.shipped import SUFFIXES, recipe_names, recipe_tables, recipe_text, recipe_tree
from limbeck.studies.names import study_names, study_text

KINDS = ("methods", "matchers", "models", "data", "recipes", "studies")


def catalogue(kind: str | None = None) -> dict[str, dict[str, str]]:
    """Return names with one line about each, by kind."""
    return {name: _entries(name) for name in KINDS if kind in {None, name}}


def _entries(kind: str) -> dict[str, str]:
    if kind == "recipes":
        return {name: recipe_tree(name).get("description", "") for name in recipe_names()}
    if kind == "studies":
        return {name: parse(study_text(name), name).get("description", "") for name in study_names()}
    if kind == "models":
        from limbeck.models import list_models
        from limbeck.models.table import DETECTORS, TRANSLATORS

        return dict.fromkeys(list_models(), "") | {
            **dict.fromkeys(DETECTORS, "finds things in pictures, on a classifier's stages; for task: detection"),
            **dict.fromkeys(TRANSLATORS, "translates; for task: translation"),
            "timm:NAME": "any of timm's",
            "torchvision:NAME": "any of torchvision's",
        }
    return {
        name: _first_line(_card(cls) if kind in {"methods", "matchers"} else inspect.getdoc(cls))
        for name, cls in _table(kind).items()
    }


def _table(kind: str) -> dict[str, Any]:
    if kind == "methods":
        from limbeck.targets import METHODS

        return dict(METHODS)
    if kind == "matchers":
        from limbeck.matching import MATCHERS

        return dict(MATCHERS)
    from limbeck.data.kinds import NAMES

    return {name: cls for names in NAMES.values() for name, cls in names.items()}


def describe(name: str) -> str:
    """Return what a name stands for.

    That is the card of a method or matcher, the size of a model, the fields of a data source, the text of recipes or of
    a study.

    Raises:
        LimbeckError: nothing has that name.
    """
    if name in recipe_names() or Path(name).suffix in SUFFIXES or Path(name).parent.suffix in SUFFIXES:
        text = recipe_text(name)
        return text if "rows" in (tree := parse(text, name)) else f"{text}{shown(tree, name)}"
    methods, data, models = _table("methods") | _table("matchers"), _table("data"), _entries("models")
    if name in methods:
        return f"{_card(methods[name])}\nFields\n{_fields(methods[name])}"
    if name in data:
        return f"{inspect.getdoc(data[name])}\n\nFields\n{_fields(data[name])}"
    if name in models or ":" in name or name.startswith(("wrn_", "densenet_bc_")):
        return _model(name)
    if name in recipe_tables():
        return recipe_text(name)
    if name in study_names():
        return study_text(name)
    known = [*methods, *data, *models, *recipe_names(), *recipe_tables(), *study_names()]
    raise LimbeckError(f"nothing is called {name!r}{nearest(name, known, see='limbeck list')}")


def _model(name: str) -> str:
    from limbeck.models import ModelSpec, parameters
    from limbeck.models.table import find_builder
    from limbeck.teachers.relation import outline

    build, settled, task = find_builder(name)
    spec = ModelSpec(name, {"backbone": "resnet18"} if task == "detection" else {})
    sizes = [f"{parameters(outline(spec, classes)):,} parameters at {classes} classes" for classes in (10, 100)]
    free = [
        option
        for key, option in inspect.signature(build).parameters.items()
        if key not in {*settled, "classes", "channels", "network"}
    ]
    options = "\n".join(f"  {option.name} = {option.default!r}" for option in free) or "  none"
    about = {
        "classification": ", 3 channels",
        "translation": ", each a token; for task: translation",
        "detection": ", on the backbone resnet18; for task: detection",
    }[task]
    return f"{name}: {', '.join(sizes)}{about}\n\n{inspect.getdoc(build)}\n\nOptions\n{options}"


def _card(cls: type) -> str:
    """Return the card on top of a method's file."""
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "") + "\n"


def _fields(cls: type) -> str:
    lines = []
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = "required" if required else repr(field.default)
        lines.append(f"  {field.name} = {default}")
    return "\n".join(lines) or "  none"


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0].strip() if (text or "").strip() else ""
