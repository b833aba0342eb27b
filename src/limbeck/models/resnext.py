"""The aggregated residual network for small images that PS-KD and Tf-KD train: resnext29_8x64d.

Xie, Girshick, Dollár, Tu, He: Aggregated residual transformations for deep neural networks, CVPR 2017, section 5.2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.bottleneck import Bottleneck
from limbeck.models.layers import conv3x3, init_kaiming


@final
class ResNeXt29(nn.Module):
    """29 layers, 8 groups of 64 channels: `stem`, `layer1` to `layer3` of three blocks each, `pool`, `head`.

    The grouped convolutions have 512, 1024 and 2048 channels, the stages put out 256, 512 and 1024. As in the
    code of both papers the weights are drawn from N(0, 2 / fan_out), those of the linear layer from
    N(0, 2 / fan_in), and its bias is 0. Ours alone: the pooling covers the map whatever its size. Theirs is 8 x 8,
    which fits images of 32 x 32 only. torchvision's ResNeXts have four stages.

    To tap: `layer3.0.add` comes before a ReLU, `layer3` after one.

    Args:
        classes: how many logits.
        channels: of the images.
    """

    @checked
    def __init__(self, classes: Count, channels: Count) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(conv=conv3x3(channels, 64), bn=nn.BatchNorm2d(64), relu=nn.ReLU()),
        )
        self.layer1 = _stage(64, 256, 1)
        self.layer2 = _stage(256, 512, 2)
        self.layer3 = _stage(512, 1024, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(1024, classes)
        init_kaiming(self)
        nn.init.kaiming_normal_(self.head.weight)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits


def _stage(inside: int, outside: int, stride: int) -> nn.Sequential:
    width = 2 * outside
    first = Bottleneck(inside, width, outside, stride, groups=8)
    return nn.Sequential(first, *(Bottleneck(outside, width, outside, 1, groups=8) for _ in range(2)))
