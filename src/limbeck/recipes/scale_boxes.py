"""The `scale` of a recipe of detection: fewer and smaller pictures, smaller networks, fewer epochs.

    tiny    whether everything works, not how well
    small   for a laptop: some minutes a run on two cores; mAP is far from the paper's

Classifiers that detectors stand on shrink as everywhere else, and detectors stand on what these have become. The
learning rate shrinks with the number of pictures in a step, as is customary for detectors; method, schedule and
optimiser stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.core.config import fields_of
from limbeck.data.boxes.load import BoxData
from limbeck.data.load import Data
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec
from limbeck.models.table import backbone_of
from limbeck.recipes.scale import lowered, rungs_of, shrunk
from limbeck.recipes.shorter import shortened
from limbeck.teachers.plan import Stage


class BoxScale(NamedTuple):
    """How small everything gets.

    Attributes:
        examples: training pictures.
        tested: pictures of the validation split, and of the test split.
        shorter: pixels of a picture's shorter side.
        longer: of its longer side, at most.
        epochs: passes over the training pictures.
        batch_size: pictures per step.
        options: of detectors, those that they have.
    """

    examples: int
    tested: int
    shorter: int
    longer: int
    epochs: int
    batch_size: int
    options: Mapping[str, int]


BOX_SCALES = {
    "tiny": BoxScale(12, 6, 64, 96, 2, 4, {"stages": 2, "width": 8, "head": 16, "boxes": 16, "maps": 3}),
    "small": BoxScale(200, 100, 120, 160, 20, 4, {"stages": 2, "width": 32, "head": 64, "boxes": 64, "maps": 4}),
}
_OPTIONS = {
    "faster_rcnn": ("stages", "width", "head", "boxes"),
    "retinanet": ("stages", "width"),
    "ssdlite": ("stages", "maps"),
}


def shrunk_boxes(
    stages: Mapping[str, Stage], name: str, networks: Sequence[ModelSpec], where: str
) -> dict[str, dict[str, Any]]:
    """Return the fields of each stage at a scale, as plain values.

    Args:
        stages: at the paper's scale, of detection and classification.
        name: one of `BOX_SCALES`.
        networks: more classifiers that take part in the ladder.
        where: how errors call the recipe.

    Raises:
        LimbeckError: a backbone is pretrained, or a teacher or backbone comes from elsewhere, so it has its size; there
            are more networks than rungs; a stage is of another task.
    """
    finding = {key: stage for key, stage in stages.items() if isinstance(stage.data, BoxData)}
    naming = {key: stage for key, stage in stages.items() if isinstance(stage.data, Data)}
    if len(finding) + len(naming) < len(stages):
        raise LimbeckError(f"{where}: scale {name} shrinks detection and classification alone: leave the scale out")
    for stage in finding.values():
        for what, choice in (("teacher", stage.teacher), ("backbone", stage.backbone)):
            if choice is not None and choice.stage is None:
                raise LimbeckError(
                    f"{where}: scale {name} cannot shrink a {what} that is not a stage of the recipe: "
                    "train it as a stage, or leave the scale out"
                )
    backbones = [backbone_of(network) for stage in finding.values() for network in stage.networks]
    if pretrained := [one.name for one in backbones if one.options.get("pretrained")]:
        raise LimbeckError(
            f"{where}: scale {name} cannot shrink the pretrained {pretrained[0]!r}: leave pretrained out, or the scale"
        )
    trained = [network for stage in naming.values() for network in stage.networks]
    rungs = rungs_of([*networks, *backbones, *trained], name, where)
    small = shrunk(naming, name, [*networks, *backbones], where) if naming else {}
    longest = max(stage.training.epochs for stage in finding.values())
    found = {key: _fields(stage, BOX_SCALES[name], rungs, longest) for key, stage in finding.items()}
    return {key: (found | small)[key] for key in stages}


def _fields(stage: Stage, scale: BoxScale, rungs: Mapping[int, ModelSpec], longest: int) -> dict[str, Any]:
    tree = fields_of(stage)
    training, data = tree["training"], tree["data"]
    epochs = max(1, round(training["epochs"] * min(1.0, scale.epochs / longest)))
    tree["model"] = _detector(stage.model, scale, rungs)
    for peer, plain in zip(stage.peers, tree["peers"], strict=True):
        plain["model"] = _detector(peer.model, scale, rungs)
    for name in ("examples", "tested"):
        data[name] = min(data[name] or getattr(scale, name), getattr(scale, name))
    data["shorter"] = min(data["shorter"], scale.shorter)
    if not data["square"]:
        data["longer"] = min(data["longer"], scale.longer)
    batch = min(training["batch_size"], scale.batch_size)
    share = batch / training["batch_size"]
    for one in (tree, *tree["peers"]):
        if one["optimiser"] is not None:
            one["optimiser"] = {**one["optimiser"], "lr": one["optimiser"]["lr"] * share}
    training["batch_size"] = batch
    return shortened(tree, epochs)


def _detector(spec: ModelSpec, scale: BoxScale, rungs: Mapping[int, ModelSpec]) -> dict[str, Any]:
    options = {name: value for name, value in scale.options.items() if name in _OPTIONS[spec.name]}
    return {"name": spec.name, **spec.options, **options, "backbone": lowered(backbone_of(spec), rungs)}
