"""The layers of a network that a recipe or a run names: what `limbeck list layers` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from limbeck.core.layers import probe, stage_ends
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec
from limbeck.recipes.parse import parse
from limbeck.recipes.rerun import test_examples
from limbeck.report.networks import chosen
from limbeck.report.students import path_of
from limbeck.teachers.relation import outline
from limbeck.teachers.teacher import read_model
from limbeck.train.weights import read_weights

SIZE, CHANNELS, CLASSES = 32, 3, 10


class Built(NamedTuple):
    """A network to be looked at.

    Attributes:
        model: by name and options.
        classes: how many logits.
        shape: of one image, [C, H, W].
    """

    model: ModelSpec
    classes: int
    shape: tuple[int, int, int]


def layer_rows(name: str, size: int | None, channels: int | None, classes: int | None) -> list[dict[str, str]]:
    """Return a row for each layer that puts out one tensor, in the order in which they end; nothing is computed.

    Args:
        name: a model's name, or a mapping of name and options as in a recipe, `{name: cnn, width: 4}`; or a run's
            folder (or RUN/student-1), which knows its channels and classes.
        size: height and width of the images; None is 32, or those of a run's test images.
        channels: of the images; None is 3.
        classes: how many; None is 10.

    Raises:
        LimbeckError: no such model or option; no finished run; channels or classes beside a run; images that the
            network cannot read.
    """
    folder = Path(name)
    if folder.is_dir() or (folder.parent / "results.json").exists():
        if channels is not None or classes is not None:
            raise LimbeckError(f"{name} knows its channels and classes: leave --channels and --classes out")
        built = _of_run(folder, size)
    else:
        side = size or SIZE
        model = read_model(parse(name, name) if name.lstrip().startswith("{") else name)
        if not isinstance(model, ModelSpec) or not isinstance(model.name, str):
            raise LimbeckError(f"{name} names no model: write its name, or {{name: cnn, width: 4}}")
        built = Built(model, classes or CLASSES, (channels or CHANNELS, side, side))
    layers = probe(outline(built.model, built.classes, built.shape[0]), built.shape)
    ends = {layer.path for layer in stage_ends(layers)}
    return [
        {
            "layer": layer.path,
            "kind": layer.kind,
            "shape": "×".join(map(str, layer.shape)),
            "runs": str(layer.runs),
            "before a ReLU": "yes" if layer.before_relu else "",
            "end of a stage": "yes" if layer.path in ends else "",
        }
        for layer in layers.values()
    ]


def _of_run(path: Path, size: int | None) -> Built:
    found = chosen(path)
    if len(found) > 1:
        raise LimbeckError(f"{path} has several students: name one of {', '.join(map(path_of, found))}")
    weights = found[0].folder / f"{found[0].student}.safetensors"
    if not weights.exists():
        raise LimbeckError(f"{weights} is missing; remove its folder and train again")
    about = json.loads(read_weights(weights)[1].get("limbeck", "{}"))
    if about.get("model") is None:
        raise LimbeckError(f"{path} is of a network of your own: look at it by limbeck.core.layers.probe")
    shape = test_examples(found[0].folder, [], "cpu").shape if size is None else (about["channels"], size, size)
    return Built(read_model(about["model"]), len(about["classes"]), shape)
