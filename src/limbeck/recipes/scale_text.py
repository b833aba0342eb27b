"""The `scale` of a recipe of translation: fewer sentences, a smaller vocabulary and network, fewer epochs.

    tiny    whether everything works, not how well
    small   for a laptop: some minutes a run on two cores; BLEU is far from the paper's

Where the width shrinks, the learning rate rises as much: Adam's best one falls with the width. Method, schedule and
optimiser stay otherwise, and what is counted in epochs keeps its share of the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.core.config import fields_of
from limbeck.data.text.load import TextData
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec
from limbeck.models.table import find_builder
from limbeck.recipes.shorter import shortened
from limbeck.teachers.plan import Stage


class TextScale(NamedTuple):
    """How small everything gets.

    Attributes:
        examples: training pairs.
        tested: pairs of the validation split, and of the test split.
        vocabulary: tokens.
        epochs: passes over the training pairs.
        batch_size: target tokens per step.
        beams: of a search.
        ladder: options of networks, from the smallest.
    """

    examples: int
    tested: int
    vocabulary: int
    epochs: int
    batch_size: int
    beams: int
    ladder: tuple[dict[str, int | float], ...]


def _rung(width: int, layers: int) -> dict[str, int | float]:
    return {"width": width, "heads": 4, "layers": layers, "inner": 2 * width, "dropout": 0.1}


TEXT_SCALES = {
    "tiny": TextScale(200, 10, 300, 2, 500, 2, (_rung(16, 1), _rung(24, 1), _rung(32, 1))),
    "small": TextScale(6000, 200, 2000, 12, 1000, 5, (_rung(64, 1), _rung(96, 1), _rung(128, 1))),
}


def shrunk_text(
    stages: Mapping[str, Stage], name: str, networks: Sequence[ModelSpec], where: str
) -> dict[str, dict[str, Any]]:
    """Return the fields of each stage at a scale, as plain values.

    Args:
        stages: at the paper's scale, all of them of translation.
        name: one of `TEXT_SCALES`.
        networks: more networks that take part in the ladder.
        where: how errors call the recipe.

    Raises:
        LimbeckError: a teacher or its translations come from elsewhere, so they have their size; there are more
            networks than rungs; a stage is of another task.
    """
    scale = TEXT_SCALES[name]
    for stage in stages.values():
        if not isinstance(stage.data, TextData):
            raise LimbeckError(f"{where}: scale {name} shrinks stages of one task only: leave the scale out")
        told = stage.data.translations
        if (stage.teacher is not None and stage.teacher.stage is None) or (told is not None and told.stage is None):
            raise LimbeckError(
                f"{where}: scale {name} cannot shrink a teacher that is not a stage of the recipe: "
                "train it as a stage, or leave the scale out"
            )
        if stage.data.tokenizer.file is not None:
            raise LimbeckError(f"{where}: scale {name} cannot shrink a vocabulary of a file: leave one of them out")
    trained = [network for stage in stages.values() for network in stage.networks]
    sizes = sorted({_size(spec) for spec in [*networks, *trained]})
    if len(sizes) > len(scale.ladder):
        raise LimbeckError(
            f"{where}: scale {name} has {len(scale.ladder)} sizes of network, the recipe {len(sizes)}: "
            "use fewer networks, or leave the scale out"
        )
    rungs = dict(zip(sizes, scale.ladder, strict=False))
    longest = max(stage.training.epochs for stage in stages.values())
    return {key: _fields(stage, scale, rungs, longest) for key, stage in stages.items()}


def _options(spec: ModelSpec) -> dict[str, Any]:
    """Return all options of a network, those that are left at their defaults too."""
    import inspect

    known = inspect.signature(find_builder(spec.name).build).parameters
    return {name: one.default for name, one in known.items() if name != "classes"} | spec.options


def _size(spec: ModelSpec) -> tuple[Any, ...]:
    """Return what networks are ranked by, whatever the vocabulary."""
    options = _options(spec)
    return options["layers"] * options["width"] * (2 * options["width"] + options["inner"]), options["width"]


def _lowered(spec: ModelSpec, rungs: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> dict[str, Any]:
    rung = rungs[_size(spec)]
    smaller = _size(ModelSpec(spec.name, dict(rung))) < _size(spec)
    return {"name": spec.name, **spec.options, **(rung if smaller else {})}


def _quicker(optimiser: Mapping[str, Any], before: ModelSpec, now: Mapping[str, Any]) -> dict[str, Any]:
    width = _options(before)["width"]
    return {**optimiser, "lr": optimiser["lr"] * width / now.get("width", width)}


def _fields(
    stage: Stage, scale: TextScale, rungs: Mapping[tuple[Any, ...], Mapping[str, Any]], longest: int
) -> dict[str, Any]:
    tree = fields_of(stage)
    training, data = tree["training"], tree["data"]
    epochs = max(1, round(training["epochs"] * min(1.0, scale.epochs / longest)))
    tree["model"] = _lowered(stage.model, rungs)
    for peer, plain in zip(stage.peers, tree["peers"], strict=True):
        plain["model"] = _lowered(peer.model, rungs)
        if plain["optimiser"] is not None:
            plain["optimiser"] = _quicker(plain["optimiser"], peer.model, plain["model"])
    tree["optimiser"] = _quicker(tree["optimiser"], stage.model, tree["model"])
    for name in ("examples", "tested"):
        data[name] = min(data[name] or getattr(scale, name), getattr(scale, name))
    data["tokenizer"]["vocabulary"] = min(data["tokenizer"]["vocabulary"], scale.vocabulary)
    tree["task"]["beams"] = min(tree["task"]["beams"], scale.beams)
    training["batch_size"] = min(training["batch_size"], scale.batch_size)
    return shortened(tree, epochs)
