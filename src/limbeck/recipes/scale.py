"""The `scale` of a recipe: the same comparison, small enough to be tried out or run on a laptop.

    paper   as it is written
    small   at most about 90 s a run on two cores; few classes, images and views, many epochs, to over-fit
    tiny    at most about 10 s a run; whether everything works, not how well

Data, epochs, batch and network shrink, never grow; optimiser and method stay. Networks take the rungs of a ladder by
their number of parameters, so a larger teacher stays larger, a smaller one smaller, and the same one the same. What is
counted in epochs keeps its share of the training.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torchvision.datasets.folder import IMG_EXTENSIONS

from limbeck.core.config import fields_of
from limbeck.data.load import Data
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, parameters
from limbeck.recipes.shorter import shortened, timed
from limbeck.teachers.plan import Stage
from limbeck.teachers.relation import outline


class Scale(NamedTuple):
    """How small everything gets.

    Attributes:
        classes: the first so many of them.
        examples: training examples.
        validation: held-out examples.
        always: hold examples out even where the recipe does not.
        epochs: passes over the training examples.
        batch_size: examples per step.
        size: side of images, in pixels, of sources that resize them.
        views: the views that are kept, by name; None keeps all.
        ladder: networks, from the smallest.
        split: the layer of these from which the branches of one network are apart.
    """

    classes: int
    examples: int
    validation: int
    always: bool
    epochs: int
    batch_size: int
    size: int
    views: tuple[str, ...] | None
    ladder: tuple[ModelSpec, ...]
    split: str


SCALES = {
    "tiny": Scale(
        classes=10,
        examples=300,
        validation=100,
        always=False,
        epochs=4,
        batch_size=32,
        size=32,
        views=None,
        ladder=tuple(ModelSpec("cnn", {"width": width}) for width in (4, 8, 16, 24)),
        split="layer2",
    ),
    "small": Scale(
        classes=20,
        examples=1000,
        validation=500,
        always=True,
        epochs=60,
        batch_size=64,
        size=64,
        views=("flip", "cutout"),
        ladder=(ModelSpec("resnet8"), ModelSpec("resnet14"), ModelSpec("resnet20"), ModelSpec("resnet32")),
        split="layer3",
    ),
}


class Extent(NamedTuple):
    """How much there is to cut from: training examples, or so many that it does not matter, and classes."""

    examples: int
    classes: int


EXTENTS = {
    "digits": Extent(1000, 10),
    "mnist": Extent(60000, 10),
    "fashion_mnist": Extent(60000, 10),
    "cifar10": Extent(50000, 10),
    "cifar100": Extent(50000, 100),
    "tiny_imagenet": Extent(100000, 200),
}
PLENTY = 10000  # more than any scale asks for
# Fields of a matcher that mean nothing in other networks.
_OF_LAYERS = ("layer", "layers", "teacher_layer", "teacher_layers", "stages")


def shrunk(
    stages: Mapping[str, Stage], name: str, networks: Sequence[ModelSpec], where: str
) -> dict[str, dict[str, Any]]:
    """Return the fields of each stage at a scale, as plain values.

    Args:
        stages: at the paper's scale.
        name: one of `SCALES`.
        networks: more networks that take part in the ladder.
        where: how errors call the recipe.

    Raises:
        LimbeckError: a network is pretrained or a teacher comes from elsewhere, so it has its size; there are more
            networks than rungs.
    """
    scale = SCALES[name]
    for stage in stages.values():
        if pretrained := [model.name for model in _models(stage) if model.options.get("pretrained")]:
            raise LimbeckError(
                f"{where}: scale {name} cannot shrink the pretrained {pretrained[0]!r}: "
                "leave pretrained out, or the scale"
            )
        if stage.teacher is not None and stage.teacher.stage is None:
            raise LimbeckError(
                f"{where}: scale {name} cannot shrink a teacher that is not a stage of the recipe: "
                "train it as a stage, or leave the scale out"
            )
    rungs = rungs_of([*networks, *(model for stage in stages.values() for model in _models(stage))], name, where)
    longest = max(stage.training.epochs for stage in stages.values())
    fields = {key: _fields(stage, scale, rungs, longest) for key, stage in stages.items()}
    for key, stage in stages.items():
        if stage.teacher is not None and stage.teacher.which.startswith("epoch-"):
            teacher = str(stage.teacher.stage)
            share = fields[teacher]["training"]["epochs"] / stages[teacher].training.epochs
            epoch = int(stage.teacher.which.removeprefix("epoch-"))
            fields[key]["teacher"]["which"] = f"epoch-{max(1, round(epoch * share))}"
    return fields


def rungs_of(networks: Sequence[ModelSpec], name: str, where: str) -> dict[int, ModelSpec]:
    """Return the rung of every size of network, by its number of parameters.

    Args:
        networks: all that take part, classifiers.
        name: one of `SCALES`.
        where: how errors call the recipe.

    Raises:
        LimbeckError: there are more sizes than rungs.
    """
    ladder, sizes = SCALES[name].ladder, sorted({_size(spec) for spec in networks})
    if len(sizes) > len(ladder):
        raise LimbeckError(
            f"{where}: scale {name} has {len(ladder)} sizes of network, the recipe {len(sizes)}: "
            "use fewer networks, or leave the scale out"
        )
    return dict(zip(sizes, ladder, strict=False))


def _models(stage: Stage) -> list[ModelSpec]:
    return [stage.model, *(peer.model for peer in stage.peers)]


def _size(spec: ModelSpec) -> int:
    """Return a network's number of parameters."""
    return _counted(spec.name, tuple(sorted(spec.options.items())))


@functools.cache
def _counted(name: str, options: tuple[tuple[str, Any], ...]) -> int:
    return parameters(outline(ModelSpec(name, dict(options))))


def lowered(model: ModelSpec, rungs: Mapping[int, ModelSpec]) -> dict[str, Any]:
    """Return a network's rung, or itself where that is the smaller; both ladders ascend, so their smaller does too."""
    size = _size(model)
    smaller = rungs[size] if _size(rungs[size]) < size else model
    return {"name": smaller.name, **smaller.options}


def _fields(stage: Stage, scale: Scale, rungs: Mapping[int, ModelSpec], longest: int) -> dict[str, Any]:
    tree = fields_of(stage)
    training = tree["training"]
    # a stage that is shorter than another one stays so
    epochs = max(1, round(training["epochs"] * min(1.0, scale.epochs / longest)))
    share = epochs / training["epochs"]
    before, tree["model"] = tree["model"], lowered(stage.model, rungs)
    tree["matchers"] = [_matched(matcher, share) for matcher in tree["matchers"]]
    if "split" in tree["method"] and tree["model"] != before:
        tree["method"]["split"] = scale.split
    for peer, plain in zip(stage.peers, tree["peers"], strict=True):
        plain["model"] = lowered(peer.model, rungs)
    assert isinstance(stage.data, Data)
    tree["data"] |= _data(stage.data, scale, held=_reads_accuracy(stage))
    if _averages_over_classes(tree["method"]) and (whole := _classes(stage.data)):
        tree["method"]["multiplier"] *= (tree["data"]["classes"] or whole) / whole
    training["batch_size"] = min(training["batch_size"], scale.batch_size, tree["data"]["examples"])
    return shortened(tree, epochs)


def _reads_accuracy(stage: Stage) -> bool:
    """Say whether a stage cannot do without a validation split."""
    training = stage.training
    return training.stop_accuracy is not None or bool(training.keep_accuracies) or stage.method.needs.validation


def _matched(matcher: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return a matcher for a share of the epochs, whose layers are found anew: the networks are others."""
    fields = timed(matcher, share) if share < 1 else dict(matcher)
    fields |= {name: None for name in _OF_LAYERS if name in fields}
    if "coder_epochs" in fields and fields["between"] == "teacher":
        fields["coder_epochs"] = max(1, round(fields["coder_epochs"] * share))
    if "matcher" in fields:
        fields["matcher"] = _matched(matcher["matcher"], share)
    return fields


def _data(data: Data, scale: Scale, held: bool) -> dict[str, Any]:
    """Return what changes of the data; `held` where held-out examples are needed anyway."""
    plain = fields_of(data)
    whole = _classes(data)
    classes = data.classes if whole is not None and whole <= scale.classes else scale.classes
    there = _extent(plain["source"], classes)
    wanted = max(scale.validation, there.classes) if scale.always or held or data.validation else 0
    validation = min(wanted, there.examples // 4)
    asked = data.held_out if isinstance(data.held_out, int) or not data.held_out else PLENTY
    held_out = min(max(scale.validation, there.classes), there.examples // 4, int(asked))
    left = there.examples - validation - held_out
    examples = min(max(scale.examples, there.classes), data.examples or PLENTY, left)
    source, views = plain["source"], plain["views"]
    if source.get("size", 0) > scale.size:
        source = {**source, "size": scale.size}
        views = [view | ({"size": scale.size} if view["name"] == "random_resized_crop" else {}) for view in views]
    if scale.views is not None:
        views = [view for view in views if view["name"] in scale.views]
    return {
        "source": source,
        "classes": classes,
        "validation": validation,
        "held_out": held_out,
        "examples": examples,
        "views": views,
    }


def _averages_over_classes(method: Mapping[str, Any]) -> bool:
    """Say whether a method's weights depend on the number of classes, so that its multiplier has to make up for it."""
    return method.get("reading") == "code" or method.get("reduction") == "mean"


def _classes(data: Data) -> int | None:
    """Return how many classes a recipe's data have, where that is known without reading them."""
    extent = _extent(fields_of(data)["source"], data.classes)
    return extent.classes or None


def _extent(source: Mapping[str, Any], classes: int | None) -> Extent:
    """Return how much a source has of its first `classes`; what is in a folder is counted, where it is there."""
    folder = Path(source.get("root", "")) / "train"
    if source["name"] in {"image_folder", "tiny_imagenet"} and folder.is_dir():
        folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())[:classes]
        images = (path for entry in folders for path in entry.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        return Extent(sum(1 for _ in itertools.islice(images, PLENTY)), len(folders))
    whole = EXTENTS.get(source["name"], Extent(PLENTY, 0))
    if classes is None or classes >= whole.classes:
        return whole
    # classes differ a little in size
    return Extent(whole.examples * classes * 9 // (whole.classes * 10), classes)
