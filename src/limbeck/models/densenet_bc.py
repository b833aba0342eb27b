"""Densely connected networks with bottlenecks and compression, densenet_bc_DEPTH_GROWTH: densenet_bc_40_12, ...

Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks, CVPR 2017, section 3 (DenseNet-BC).
The parameters that ESKD (ICCV 2019) gives for its DenseNets of depth 40 and 100 are those of this form.
"""

from __future__ import annotations

import importlib
from typing import Annotated, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import blocks_plus, checked
from limbeck.models.layers import conv3x3


@final
class DenseNetBC(nn.Module):
    """A network of 6n + 4 layers, three blocks of n: torchvision's `features`, then `relu`, `pool`, `head`.

    The stem `features.conv0` is a 3x3 convolution of stride 1 to twice the growth in channels, with nothing behind it;
    a transition keeps half of the channels. The weights start as PyTorch's own layers do.

    Args:
        depth: 6n + 4, n >= 1.
        growth: channels that each layer adds.
        classes: how many logits.
        channels: of the images.
    """

    @checked
    def __init__(
        self, depth: Annotated[int, blocks_plus(6, 4)], growth: Count, classes: Count, channels: Count
    ) -> None:
        super().__init__()
        blocks = ((depth - 4) // 6,) * 3
        theirs = importlib.import_module("torchvision.models").DenseNet(
            growth_rate=growth, block_config=blocks, num_init_features=2 * growth, num_classes=classes
        )
        self.features = theirs.features
        self.features.conv0 = conv3x3(channels, 2 * growth)
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
        """Return the logits of images of any size, 4 x 4 or more."""
        logits: Tensor = self.head(self.flatten(self.pool(self.relu(self.features(x)))))
        return logits
