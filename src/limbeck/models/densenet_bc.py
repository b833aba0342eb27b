"""Densely connected networks with bottlenecks and compression, densenet_bc_DEPTH_GROWTH: densenet_bc_40_12, ...

Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks, CVPR 2017, section 3 (DenseNet-BC).
The parameters that ESKD (ICCV 2019) gives for its DenseNets of depth 40 and 100 are those of this form.
"""

from __future__ import annotations

from typing import Annotated, final

from limbeck.core.config import Count
from limbeck.models.arguments import blocks_plus, checked
from limbeck.models.densenet import DenseNet


@final
class DenseNetBC(DenseNet):
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
        super().__init__(growth, ((depth - 4) // 6,) * 3, 2 * growth, classes, channels)
