"""ImageNet's residual networks with a stem for small images: resnet18, 34, 50, 101, 152.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, table 1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.bottleneck import Bottleneck
from limbeck.models.layers import conv3x3
from limbeck.models.resnet import ResidualBlock

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@final
class FourStageResNet(nn.Module):
    """Four stages (64, 128, 256, 512 channels; from 50 layers on 4 times as many): `stem`, `layer1` to `layer4`.

    As in the code of Tf-KD (Yuan et al., CVPR 2020), and of PS-KD (Kim et al., ICCV 2021) for 101 layers, which
    PS-KD's tables call PreAct ResNet-101 although its ReLUs come after the convolutions as they do here. Unlike
    torchvision's: the stem is a 3x3 convolution of stride 1, no max-pooling follows it, the weights start as
    PyTorch's own layers do, and no block adds in place. Unlike theirs: the pooling covers the map whatever its
    size, not 4 x 4 of it, which fits images of 32 x 32 only.

    To tap: `stem.bn` and `layer4.0.add` come before a ReLU, `stem` and `layer4` after one.

    Args:
        depth: layers.
        classes: how many logits.
        channels: of the images.
    """

    @checked
    def __init__(self, depth: Literal[18, 34, 50, 101, 152], classes: Count, channels: Count) -> None:
        super().__init__()
        first, second, third, fourth = _BLOCKS[depth]
        deep = depth >= 50
        wider = 4 if deep else 1
        self.stem = nn.Sequential(
            OrderedDict(conv=conv3x3(channels, 64), bn=nn.BatchNorm2d(64), relu=nn.ReLU()),
        )
        self.layer1 = _stage(64, 64, first, 1, deep)
        self.layer2 = _stage(64 * wider, 128, second, 2, deep)
        self.layer3 = _stage(128 * wider, 256, third, 2, deep)
        self.layer4 = _stage(256 * wider, 512, fourth, 2, deep)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(512 * wider, classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits


def _stage(inside: int, width: int, blocks: int, stride: int, deep: bool) -> nn.Sequential:
    if not deep:
        basic = [ResidualBlock(inside, width, stride, "conv")]
        return nn.Sequential(*basic, *(ResidualBlock(width, width, 1, "conv") for _ in range(blocks - 1)))
    outside = 4 * width
    first = Bottleneck(inside, width, outside, stride)
    return nn.Sequential(first, *(Bottleneck(outside, width, outside, 1) for _ in range(blocks - 1)))
