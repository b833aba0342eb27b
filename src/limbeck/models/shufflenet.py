"""The network of shuffled channels for small images that Tf-KD trains: shufflenet_v2.

Ma, Zhang, Zheng, Sun: ShuffleNet V2: practical guidelines for efficient CNN architecture design, ECCV 2018, table 5
(1x) and figure 3.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import conv_unit


@final
class ShuffleUnit(nn.Module):
    """Half the channels pass `shortcut`, the others `branch`; then they are joined and shuffled (`shuffle`).

    At stride 2 both take all channels of the input, and the shortcut has convolutions too. As in Tf-KD's code,
    and unlike torchvision's, the branch narrows at its last convolution then, not at its first.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.splits = stride == 1
        half = outside // 2
        taken = inside // 2 if self.splits else inside
        self.branch = nn.Sequential(
            OrderedDict(
                first=conv_unit(taken, taken),
                depthwise=conv_unit(taken, taken, 3, stride, padding=1, groups=taken, activation=None),
                last=conv_unit(taken, half),
            ),
        )
        self.shortcut = nn.Sequential()
        if not self.splits:
            self.shortcut.add_module(
                "depthwise", conv_unit(taken, taken, 3, stride, padding=1, groups=taken, activation=None)
            )
            self.shortcut.add_module("last", conv_unit(taken, half))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, outside, ceil(H / stride), ceil(W / stride)]."""
        passed, taken = x.chunk(2, dim=1) if self.splits else (x, x)
        shuffled: Tensor = self.shuffle(torch.cat([self.shortcut(passed), self.branch(taken)], dim=1))
        return shuffled


@final
class ShuffleNetV2(nn.Module):
    """Three stages of 4, 8 and 4 units (116, 232, 464 channels): `stem`, `layer1` to `layer3`, `last`, `head`.

    As in the code of Tf-KD (Yuan et al., CVPR 2020), and unlike torchvision's: the stem is a 3x3 convolution of
    stride 1 without a ReLU, no max-pooling follows it, every convolution has a bias, and the weights start as
    PyTorch's own layers do.

    To tap: `stem` and `last.bn` come before a ReLU, `last` after one.

    Args:
        classes: how many logits.
        channels: of the images.
    """

    @checked
    def __init__(self, classes: Count, channels: Count) -> None:
        super().__init__()
        self.stem = conv_unit(channels, 24, 3, padding=1, activation=None)
        self.layer1 = _stage(24, 116, 4)
        self.layer2 = _stage(116, 232, 8)
        self.layer3 = _stage(232, 464, 4)
        self.last = conv_unit(464, 1024)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(1024, classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.last(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits


def _stage(inside: int, outside: int, units: int) -> nn.Sequential:
    return nn.Sequential(ShuffleUnit(inside, outside, 2), *(ShuffleUnit(outside, outside, 1) for _ in range(units - 1)))
