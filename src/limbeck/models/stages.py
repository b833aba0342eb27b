"""The feature maps of any classifier: what its stages end with, so that a detector can stand on them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float, config
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FrozenBatchNorm2d

from limbeck.core.layers import probe, stage_ends
from limbeck.errors import LimbeckError

# Large enough that a network which shrinks 32-fold still has maps, not single numbers.
_PROBED = 128


# how many of a classifier's stages a detector stands on
Stages = Annotated[int, Field(ge=1, le=5)]


class Stage(NamedTuple):
    """What a stage ends with.

    Attributes:
        path: of its last layer.
        channels: of its map.
        stride: pixels of the image to one of the map.
    """

    path: str
    channels: int
    stride: int


class Body(nn.Module):
    """The stages of a classifier, without its head: images [B, C, H, W] in, a map of each stage out.

    The layers and weights keep the names that they have in the classifier.

    Attributes:
        stages: from the finest to the coarsest.
        layers: the classifier, cut behind its last stage.

    Args:
        network: a classifier, which is taken apart.
        most: at most so many stages, the coarsest ones.
        frozen: let its batch norms keep their statistics, scales and shifts, as is customary where batches are small.

    Raises:
        LimbeckError: it has less than two stages (a vision transformer, say), or its forward cannot be traced.
    """

    def __init__(self, network: nn.Module, most: int, frozen: bool = False) -> None:
        super().__init__()
        try:
            ends = stage_ends(probe(network, (3, _PROBED, _PROBED)))
        except LimbeckError as error:
            raise LimbeckError(f"the backbone has no feature stages for pictures of any size: {error}") from error
        if len(ends) < 2:
            # the only maps of a transformer are those that it makes its tokens of
            raise LimbeckError(f"the backbone has {len(ends)} feature stage(s): choose a convolutional network")
        self.stages = tuple(Stage(end.path, end.shape[0], _stride(end.shape[1])) for end in ends[-most:])
        if frozen:
            network = _frozen(network)
        try:
            with _untyped():
                self.layers: nn.Module = create_feature_extractor(
                    network, {stage.path: stage.path for stage in self.stages}
                )
        except (torch.fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LimbeckError(f"the backbone cannot be cut into its stages: {reason}") from error

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> dict[str, Tensor]:
        """Return the map of each stage, by the path of its last layer."""
        found: dict[str, Tensor] = self.layers(images)
        return found

    def take(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Take a classifier's weights; those of its head are left.

        Args:
            weights: by their names in the classifier.
            where: how errors call them.

        Raises:
            LimbeckError: weights are missing, or have other shapes.
        """
        own = self.layers.state_dict()
        if missing := sorted(own.keys() - weights.keys()):
            raise LimbeckError(f"{where} has no weights {missing[0]!r}: it is of another network than the backbone")
        for key, value in sorted(own.items()):
            if weights[key].shape != value.shape:
                raise LimbeckError(
                    f"{where}: {key!r} has shape {list(weights[key].shape)}, the backbone's has {list(value.shape)}: "
                    "name the same network and options in model.backbone"
                )
        self.layers.load_state_dict({key: weights[key] for key in own})


def _stride(side: int) -> int:
    """Return the stride of a map, given its side: a power of two, whatever border convolutions may have lost."""
    return 1 << round(math.log2(_PROBED / side))


@contextmanager
def _untyped() -> Iterator[None]:
    """Let jaxtyping check no types in this context, where something else than tensors goes through the layers."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def _frozen(network: nn.Module) -> nn.Module:
    """Return a network whose batch norms never change."""
    if any(type(module).__module__.startswith("timm.") for module in network.modules()):
        # its batch norms have activations of their own
        frozen: nn.Module = importlib.import_module("timm.layers.norm_act").freeze_batch_norm_2d(network)
        return frozen
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _frozen_norm(child))
    return network


def _frozen_norm(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    fixed = FrozenBatchNorm2d(norm.num_features, norm.eps)
    # without scale and shift of its own it has none to hand on
    fixed.load_state_dict(
        {key: value for key, value in norm.state_dict().items() if key != "num_batches_tracked"}, strict=False
    )
    return fixed
