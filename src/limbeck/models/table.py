"""The networks by name, and how a name and options become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import NamedTuple, TypeAlias, final

from torch import nn

from limbeck.core.config import configurable
from limbeck.errors import LimbeckError, nearest
from limbeck.models.arguments import check_arguments
from limbeck.models.bridges import timm_model, torchvision_model
from limbeck.models.cnn import SmallCNN
from limbeck.models.densenet import DenseNet121
from limbeck.models.densenet_bc import DenseNetBC
from limbeck.models.faster_rcnn import FasterRCNNDetector
from limbeck.models.four_stage_resnet import FourStageResNet
from limbeck.models.googlenet import googlenet
from limbeck.models.mobilenet import MobileNetV2
from limbeck.models.plain_cnn import PlainCNN
from limbeck.models.preact_resnet import PreActResNet18
from limbeck.models.pyramidnet import PyramidNet
from limbeck.models.resnet import ResNet
from limbeck.models.resnext import ResNeXt29
from limbeck.models.retinanet import RetinaNetDetector
from limbeck.models.shufflenet import ShuffleNetV2
from limbeck.models.ssdlite import SSDLiteDetector
from limbeck.models.transformer import Transformer
from limbeck.models.wide_resnet import WideResNet

Scalar: TypeAlias = bool | int | float | str
Option: TypeAlias = Scalar | dict[str, Scalar]


class Builder(NamedTuple):
    """Who builds a network.

    Attributes:
        build: a class or function of `classes`, `channels` and options.
        settled: the arguments that the name alone decides.
        task: what its networks are for; those of translation read no images and have no `channels`, and detectors are
            built of a classifier, their first argument.
    """

    build: Callable[..., nn.Module]
    settled: Mapping[str, int | str] = {}
    task: str = "classification"


MODELS: dict[str, Builder] = {
    "cnn": Builder(SmallCNN),
    "resnet8": Builder(ResNet, {"depth": 8}),
    "resnet14": Builder(ResNet, {"depth": 14}),
    "resnet20": Builder(ResNet, {"depth": 20}),
    "resnet32": Builder(ResNet, {"depth": 32}),
    "resnet44": Builder(ResNet, {"depth": 44}),
    "resnet56": Builder(ResNet, {"depth": 56}),
    "resnet110": Builder(ResNet, {"depth": 110}),
    "preact_resnet18": Builder(PreActResNet18),
    "resnet18": Builder(FourStageResNet, {"depth": 18}),
    "resnet34": Builder(FourStageResNet, {"depth": 34}),
    "resnet50": Builder(FourStageResNet, {"depth": 50}),
    "resnet101": Builder(FourStageResNet, {"depth": 101}),
    "resnet152": Builder(FourStageResNet, {"depth": 152}),
    "resnext29_8x64d": Builder(ResNeXt29),
    "densenet121": Builder(DenseNet121),
    "pyramidnet200": Builder(PyramidNet, {"depth": 200, "alpha": 240}),
    "googlenet": Builder(googlenet),
    "mobilenet_v2": Builder(MobileNetV2),
    "shufflenet_v2": Builder(ShuffleNetV2),
    "plain_cnn": Builder(PlainCNN),
    "wrn_16_1": Builder(WideResNet, {"depth": 16, "widen": 1}),
    "wrn_16_2": Builder(WideResNet, {"depth": 16, "widen": 2}),
    "wrn_16_4": Builder(WideResNet, {"depth": 16, "widen": 4}),
    "wrn_28_2": Builder(WideResNet, {"depth": 28, "widen": 2}),
    "wrn_28_10": Builder(WideResNet, {"depth": 28, "widen": 10}),
    "wrn_40_1": Builder(WideResNet, {"depth": 40, "widen": 1}),
    "wrn_40_2": Builder(WideResNet, {"depth": 40, "widen": 2}),
    "wrn_40_4": Builder(WideResNet, {"depth": 40, "widen": 4}),
}

# Networks that read no images; each is for a task of its own.
TRANSLATORS: dict[str, Builder] = {"transformer": Builder(Transformer, task="translation")}

# Networks that stand on a classifier's stages, which their option `backbone` names.
DETECTORS: dict[str, Builder] = {
    "faster_rcnn": Builder(FasterRCNNDetector, task="detection"),
    "retinanet": Builder(RetinaNetDetector, task="detection"),
    "ssdlite": Builder(SSDLiteDetector, task="detection"),
}

_BRIDGES: dict[str, Callable[..., nn.Module]] = {"timm": timm_model, "torchvision": torchvision_model}
_ANY = 10
_WIDE = re.compile(r"wrn_(\d{1,4})_(\d{1,4})", re.ASCII)
_DENSE = re.compile(r"densenet_bc_(\d{1,4})_(\d{1,4})", re.ASCII)


@final
@configurable
class ModelSpec:
    """A network, by name.

    Attributes:
        name: one of `MODELS`, `TRANSLATORS` or `DETECTORS`, `wrn_<depth>_<width>`, `densenet_bc_<depth>_<growth>`,
            `torchvision:<name>` or `timm:<name>`.
        options: the builder's own, by name: `{"shortcut": "conv"}`. A detector's `backbone` is a classifier's name, or
            a mapping of its `name` and its own options.
    """

    name: str
    options: dict[str, Option] = field(default_factory=dict)


def list_models() -> list[str]:
    """Return the names of this table, sorted; networks by their numbers and the bridges are not listed."""
    return sorted(MODELS)


def find_builder(name: str) -> Builder:
    """Return who builds the network of this name.

    Raises:
        LimbeckError: the name is unknown. (Names after a colon are the other library's to check.)
    """
    if name in MODELS:
        return MODELS[name]
    if name in TRANSLATORS | DETECTORS:
        return (TRANSLATORS | DETECTORS)[name]
    if wide := _WIDE.fullmatch(name):
        depth, widen = map(int, wide.groups())
        return Builder(WideResNet, {"depth": depth, "widen": widen})
    if dense := _DENSE.fullmatch(name):
        depth, growth = map(int, dense.groups())
        return Builder(DenseNetBC, {"depth": depth, "growth": growth})
    library, colon, theirs = name.partition(":")
    if colon and library in _BRIDGES:
        return Builder(_BRIDGES[library], {"name": theirs})
    if colon:
        bridges = (f"{known}:{theirs}" for known in _BRIDGES)
        raise LimbeckError(f"model {name!r} is unknown{nearest(name, bridges)}")
    raise LimbeckError(
        f"model {name!r} is unknown{nearest(name, [*MODELS, *TRANSLATORS, *DETECTORS])} "
        "(other libraries' are torchvision:NAME and timm:NAME)"
    )


def build_model(spec: ModelSpec, classes: int, channels: int) -> nn.Module:
    """Return a new network: images float [B, `channels`, H, W] in, logits float [B, `classes`] out.

    Detectors and translators read and answer otherwise: see theirs. Weights come from torch's global generator:
    `torch.manual_seed` settles them.

    Raises:
        LimbeckError: an unknown name or option, a wrong value, a backbone without stages, or pretrained weights that
            can't be had.
    """
    build, settled, task = _prepare(spec, classes, channels)
    if task != "detection":
        return build(**settled, **spec.options)
    # its head is left behind, so that it does not matter what it tells apart
    return build(build_model(backbone_of(spec), _ANY, channels), **settled, **_own(spec))


def check_model(spec: ModelSpec, classes: int = 10, channels: int = 3) -> None:
    """Check a network's name and options without building it; names with a colon load the library named.

    Raises:
        LimbeckError: as `build_model`, but for the weights.
    """
    _prepare(spec, classes, channels)


def backbone_of(spec: ModelSpec) -> ModelSpec:
    """Return the classifier whose stages a detector stands on.

    Raises:
        LimbeckError: it is not named, or is no classifier.
    """
    given = spec.options.get("backbone")
    options: dict[str, Option] = {**given} if isinstance(given, dict) else {}
    name = options.pop("name", None) if isinstance(given, dict) else given
    if not isinstance(name, str):
        raise LimbeckError(f"model {spec.name!r} needs a backbone: set model.backbone to a classifier's name")
    backbone = ModelSpec(name, options)
    if task_of(backbone) != "classification":
        raise LimbeckError(f"model {spec.name!r}: its backbone {name!r} is no classifier: choose one")
    return backbone


def untrained(spec: ModelSpec) -> ModelSpec:
    """Return the same network without pretrained weights, whose backbone has none either."""
    plain: dict[str, Option] = {}
    for name, option in spec.options.items():
        if isinstance(option, dict):
            plain[name] = {inner: value for inner, value in option.items() if inner != "pretrained"}
        elif name != "pretrained":
            plain[name] = option
    return ModelSpec(spec.name, plain)


def task_of(spec: ModelSpec) -> str:
    """Return the name of the task that a network is for.

    Raises:
        LimbeckError: the name is unknown.
    """
    return find_builder(spec.name).task


def parameters(model: nn.Module) -> int:
    """Return how many trainable numbers a network has, each counted once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _prepare(spec: ModelSpec, classes: int, channels: int) -> Builder:
    build, named, task = find_builder(spec.name)
    settled = {**named, "classes": classes, **({"channels": channels} if task == "classification" else {})}
    if task == "detection":
        _prepare(backbone_of(spec), _ANY, channels)
    check_arguments(build, spec.name, settled, _own(spec) if task == "detection" else spec.options)
    return Builder(build, settled, task)


def _own(spec: ModelSpec) -> dict[str, Option]:
    """Return a detector's own options."""
    return {name: value for name, value in spec.options.items() if name != "backbone"}
