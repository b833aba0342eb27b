"""The Inception network for small images that Tf-KD trains: googlenet.

Szegedy et al.: Going deeper with convolutions, CVPR 2015, table 1.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import conv_unit


@checked
def googlenet(classes: Count, channels: Count) -> nn.Module:
    """Return torchvision's GoogLeNet in the form of Tf-KD (Yuan et al., CVPR 2020), for images of 8 x 8 or more.

    As in Tf-KD's code, and unlike torchvision's: the stem `conv1` is one 3x3 convolution to 192 channels, without
    a max-pooling; every convolution has a bias, and a batch norm of epsilon 1e-5 behind it; two 3x3 convolutions
    stand for the 5x5 one; max-poolings reach over the edge by one pixel; dropout is 0.4 (of whole channels, which are
    one pixel each there); there are no auxiliary
    heads; the weights start as PyTorch's own layers do. Each convolution's `conv`, `bn` and `relu` can be tapped.

    The gradient of its overlapping max-poolings may differ in the last digits from run to run on a GPU.

    Args:
        classes: how many logits.
        channels: of the images.
    """
    network: nn.Module = importlib.import_module("torchvision.models").GoogLeNet(
        classes, aux_logits=False, init_weights=False, blocks=[conv_unit, _inception, nn.Identity], dropout=0.4
    )
    network.conv1 = conv_unit(channels, 192, 3, padding=1)
    for name in ("maxpool1", "conv2", "conv3", "maxpool2"):
        setattr(network, name, nn.Identity())
    network.maxpool3 = nn.MaxPool2d(3, 2, padding=1)
    network.maxpool4 = nn.MaxPool2d(3, 2, padding=1)
    return network


def _inception(*sizes: int) -> Any:
    """Return torchvision's block with a second 3x3 convolution in the third branch."""
    module = importlib.import_module("torchvision.models.googlenet")
    block = module.Inception(*sizes, conv_block=conv_unit)
    five = sizes[5]
    block.branch3.append(conv_unit(five, five, 3, padding=1))
    return block
