"""Densely connected networks for small images, and the one that PS-KD, CS-KD and Tf-KD train: densenet121.

Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks, CVPR 2017, table 1.
"""

from __future__ import annotations

import importlib
from typing import Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import conv3x3

Transition: TypeAlias = Literal["bn_relu", "bn"]


class DenseNet(nn.Module):
    """Torchvision's `features` in a form for small images, then `relu`, `pool`, `head`.

    The stem `features.conv0` is a 3x3 convolution of stride 1 with neither batch norm, ReLU nor max-pooling behind it,
    and the weights start as PyTorch's own layers do.

    Args:
        growth: channels that each layer adds.
        blocks: how many layers each block has.
        stem: channels of the stem.
        classes: how many logits.
        channels: of the images.
    """

    def __init__(self, growth: int, blocks: tuple[int, ...], stem: int, classes: int, channels: int) -> None:
        super().__init__()
        theirs = importlib.import_module("torchvision.models").DenseNet(
            growth_rate=growth, block_config=blocks, num_init_features=stem, num_classes=classes
        )
        self.features = theirs.features
        self.features.conv0 = conv3x3(channels, stem)
        for name in ("norm0", "relu0", "pool0"):
            delattr(self.features, name)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = theirs.classifier
        for layer in self.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size that the transitions can halve: 8 x 8 or more for four blocks."""
        logits: Tensor = self.head(self.flatten(self.pool(self.relu(self.features(x)))))
        return logits


@final
class DenseNet121(DenseNet):
    """Growth 32, blocks of 6, 12, 24 and 16 layers: torchvision's `features`, then `relu`, `pool`, `head`.

    As in the three papers' code, and unlike torchvision's: the stem `features.conv0` is a 3x3 convolution of
    stride 1 with neither batch norm, ReLU nor max-pooling behind it, and the weights start as PyTorch's own
    layers do. Ours alone: the pooling covers the map whatever its size. PS-KD's and CS-KD's is 4 x 4, which fits
    images of 32 x 32 only, and for those the two are the same.

    To tap: `features.denseblockN` puts out a mapping, so tap `features.transitionN`, or `features.norm5`.

    Args:
        classes: how many logits.
        channels: of the images.
        transition: before the 1x1 convolution between two blocks, batch norm and ReLU (the paper of DenseNet,
            PS-KD, CS-KD) or a batch norm alone (Tf-KD).
    """

    @checked
    def __init__(self, classes: Count, channels: Count, transition: Transition = "bn_relu") -> None:
        super().__init__(32, (6, 12, 24, 16), 64, classes, channels)
        if transition == "bn":
            for name in ("transition1", "transition2", "transition3"):
                self.features.get_submodule(name).relu = nn.Identity()
