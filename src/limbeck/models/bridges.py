"""Other libraries' networks, by name: `torchvision:resnet18`, `timm:resnet18.a1_in1k`.

Their input sizes are their own: many of timm's transformers, for one, take 224 x 224 only.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator
from torch import nn

from limbeck.core.config import Count
from limbeck.errors import LimbeckError, nearest
from limbeck.models.arguments import checked

_WITH_AUXILIARY_HEADS = frozenset({"googlenet", "inception_v3"})


class Pretraining(NamedTuple):
    """What a library's pretrained network was trained to name and to read.

    Attributes:
        classes: how many.
        mean: per colour, subtracted from images in [0, 1].
        std: per colour, divided by.
    """

    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def pretraining(name: str) -> Pretraining:
    """Return how the pretrained `torchvision:NAME` or `timm:NAME` was trained; downloads nothing."""
    library, _, theirs = name.partition(":")
    if library == "timm":
        found = _timm().get_pretrained_cfg(_known_to_timm(theirs))
        return Pretraining(found.num_classes, tuple(found.mean), tuple(found.std))
    models = importlib.import_module("torchvision.models")
    weights = models.get_model_weights(_known_to_torchvision(theirs)).DEFAULT
    reads = weights.transforms()
    return Pretraining(len(weights.meta["categories"]), tuple(reads.mean), tuple(reads.std))


def _known_to_torchvision(name: str) -> str:
    models = importlib.import_module("torchvision.models")
    return _require(name, models.list_models(module=models), "torchvision")


def _known_to_timm(name: str) -> str:
    timm = _timm()
    return _require(name, {*timm.list_models(), *timm.list_models(pretrained=True)}, "timm")


@checked
def torchvision_model(
    name: Annotated[str, AfterValidator(_known_to_torchvision)],
    classes: Count,
    channels: Count,
    pretrained: bool = False,
) -> nn.Module:
    """Return one of torchvision's classifiers, without auxiliary heads.

    Args:
        name: as `torchvision.models.list_models(module=torchvision.models)` has it.
        classes: how many logits; a pretrained network with other classes gets a new last layer.
        channels: of the images. If not 3, the first convolution changes. A pretrained one gets the sum of its
            weights over the colours, divided by `channels`: equal channels give what the grey image gave.
        pretrained: load the default weights, downloaded at first use.

    Raises:
        LimbeckError: the name is unknown, or the weights can't be had.
    """
    if pretrained:
        network = _pretrained_torchvision(name, classes)
    else:
        alone = {"aux_logits": False, "init_weights": True} if name in _WITH_AUXILIARY_HEADS else {}
        models = importlib.import_module("torchvision.models")
        network = models.get_model(name, weights=None, num_classes=classes, **alone)
    if channels != 3:
        _take_channels(network, channels, pretrained)
    return _tappable(network)


@checked
def timm_model(
    name: Annotated[str, AfterValidator(_known_to_timm)],
    classes: Count,
    channels: Count,
    pretrained: bool = False,
) -> nn.Module:
    """Return one of timm's networks; timm itself fits its first and last layer to `channels` and `classes`.

    Args:
        name: as `timm.list_models()` has it, with a tag (`resnet18.a1_in1k`) or without.
        classes: how many logits.
        channels: of the images.
        pretrained: load the weights of the tag (or of the default one), downloaded at first use.

    Raises:
        LimbeckError: timm is missing, the name is unknown, or the weights can't be had.
    """
    timm = _timm()
    if pretrained and not timm.is_model_pretrained(name):
        raise LimbeckError(f"model 'timm:{name}' has no pretrained weights; set pretrained to false")
    transport = importlib.import_module("huggingface_hub.errors").HTTPError
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=classes, in_chans=channels)
    except (OSError, transport) as error:
        raise _unreachable(f"timm:{name}", error) from error
    return _tappable(network)


def _pretrained_torchvision(name: str, classes: int) -> Any:
    models = importlib.import_module("torchvision.models")
    weights = models.get_model_weights(name).DEFAULT
    try:
        network: Any = models.get_model(name, weights=weights)
    except OSError as error:
        raise _unreachable(f"torchvision:{name}", error) from error
    if name in _WITH_AUXILIARY_HEADS:
        network.aux_logits = False
        network.AuxLogits = None
    if classes != len(weights.meta["categories"]):
        _give_classes(network, classes)
    return network


def _take_channels(network: Any, channels: int, keep: bool) -> None:
    """Let a network for 3 channels take `channels`; `keep` what its first convolution has learnt."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    total = first.weight.detach().sum(1, keepdim=True)
    first.in_channels = channels
    first.weight = nn.Parameter((total / channels).repeat(1, channels, 1, 1))
    if not keep:
        first.reset_parameters()
    if hasattr(network, "transform_input"):  # GoogLeNet and Inception rescale the three colours one by one
        network.transform_input = False


def _give_classes(network: nn.Module, classes: int) -> None:
    """Give the classifier, which is the last linear layer or convolution, another number of classes."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    if isinstance(last, nn.Linear):
        last.out_features = classes
    else:
        last.out_channels = classes
    last.weight = nn.Parameter(last.weight.new_empty(classes, *last.weight.shape[1:]))
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias.new_empty(classes))
    last.reset_parameters()


def _tappable(network: nn.Module) -> nn.Module:
    """Let no activation layer write over its input, which may be tapped; a forward's own `+=` still does."""
    layers: Iterable[Any] = network.modules()
    for layer in layers:
        if getattr(layer, "inplace", False):
            layer.inplace = False
    return network


def _unreachable(name: str, error: Exception) -> LimbeckError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return LimbeckError(
        f"model {name!r}: its pretrained weights can't be had ({reason}); "
        "connect to the network once, or set pretrained to false"
    )


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise LimbeckError(
            "models named timm:... need timm, which is not installed: pip install 'limbeck[timm]'"
        ) from error


def _require(name: str, known: Iterable[str], library: str) -> str:
    names = set(known)
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    hint = nearest(name, close) if close else f"; see {library}'s list_models()"
    raise LimbeckError(f"{library} has no model {name!r}{hint}")
