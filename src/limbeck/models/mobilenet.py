"""The network of inverted residuals for small images that Tf-KD trains: mobilenet_v2.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018, table 2.
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import Add, conv_unit


@final
class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, 3x3 depthwise, 1x1 without an activation.

    The input is added where the shape stays. Unlike torchvision's the first 1x1 is there at an expansion of 1 too.
    """

    def __init__(self, inside: int, outside: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * inside
        self.expand = conv_unit(inside, hidden, activation=nn.ReLU6)
        self.depthwise = conv_unit(hidden, hidden, 3, stride, padding=1, groups=hidden, activation=nn.ReLU6)
        self.project = conv_unit(hidden, outside, activation=None)
        self.add = Add() if stride == 1 and inside == outside else None

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, outside, ceil(H / stride), ceil(W / stride)]."""
        branch: Tensor = self.project(self.depthwise(self.expand(x)))
        return branch if self.add is None else self.add(branch, x)


@final
class MobileNetV2(nn.Module):
    """Seven stages of inverted residuals: `stem`, `layer1` to `layer7`, `last`, `pool`, `head`.

    As in the code of Tf-KD (Yuan et al., CVPR 2020), and unlike torchvision's: the stem is a 1x1 convolution of
    stride 1 with a padding of 1, so that maps have two pixels more than the image (34 x 34); every convolution has
    a bias; the strides of the stages are 1, 2, 2, 2, 1, 1, 1, so that 32 x 32 ends at 5 x 5; the classifier is a
    1x1 convolution without dropout before it; the weights start as PyTorch's own layers do.

    To tap: `layer7` and `last.bn` come before an activation, `last` after one.

    Args:
        classes: how many logits.
        channels: of the images.
    """

    @checked
    def __init__(self, classes: Count, channels: Count) -> None:
        super().__init__()
        self.stem = conv_unit(channels, 32, padding=1, activation=nn.ReLU6)
        self.layer1 = _stage(32, 16, 1, 1, expansion=1)
        self.layer2 = _stage(16, 24, 2, 2)
        self.layer3 = _stage(24, 32, 3, 2)
        self.layer4 = _stage(32, 64, 4, 2)
        self.layer5 = _stage(64, 96, 3, 1)
        self.layer6 = _stage(96, 160, 3, 1)
        self.layer7 = _stage(160, 320, 1, 1)
        self.last = conv_unit(320, 1280, activation=nn.ReLU6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(1280, classes, 1)
        self.flatten = nn.Flatten()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        x = self.layer7(self.layer6(self.layer5(self.layer4(x))))
        logits: Tensor = self.flatten(self.head(self.pool(self.last(x))))
        return logits


def _stage(inside: int, outside: int, blocks: int, stride: int, expansion: int = 6) -> nn.Sequential:
    first = InvertedResidual(inside, outside, stride, expansion)
    return nn.Sequential(first, *(InvertedResidual(outside, outside, 1, expansion) for _ in range(blocks - 1)))
