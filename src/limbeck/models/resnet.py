"""Residual networks for small images: resnet8, 14, 20, 32, 44, 56, 110.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, section 4.2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import blocks_plus, checked
from limbeck.models.layers import Add, PadShortcut, conv1x1, conv3x3, init_kaiming

Shortcut: TypeAlias = Literal["pad", "conv"]


@final
class ResidualBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, plus the shortcut, ReLU. The sum before the last ReLU is the output of `add`."""

    def __init__(self, inside: int, outside: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = conv3x3(inside, outside, stride)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(outside, outside)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = make_shortcut(inside, outside, stride, shortcut)
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, outside, ceil(H / stride), ceil(W / stride)]."""
        branch: Tensor = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        joined: Tensor = self.relu2(self.add(branch, self.shortcut(x)))
        return joined


def make_shortcut(inside: int, outside: int, stride: int, shortcut: Shortcut) -> nn.Module:
    """Return what a block's input passes on its way past: nothing, unless the shape changes."""
    if stride == 1 and inside == outside:
        return nn.Identity()
    if shortcut == "pad":
        return PadShortcut(stride, outside - inside)
    return nn.Sequential(
        OrderedDict(conv=conv1x1(inside, outside, stride), bn=nn.BatchNorm2d(outside)),
    )


@final
class ResNet(nn.Module):
    """A residual network of 6n + 2 layers: `stem`, `layer1` to `layer3` of n blocks each, `pool`, `head`.

    To tap: `stem.bn` and `layer3.0.add` come before a ReLU, `stem` and `layer3` after one.

    Args:
        depth: 6n + 2, n >= 1.
        classes: how many logits.
        channels: of the images.
        shortcut: where the shape changes, `pad` zeros (as the paper does for small images) or project by a
            1x1 `conv` and batch norm (as much distillation code does).
        width: multiplies the 16, 32 and 64 channels of the three stages.
    """

    @checked
    def __init__(
        self,
        depth: Annotated[int, blocks_plus(6, 2)],
        classes: Count,
        channels: Count,
        shortcut: Shortcut = "pad",
        width: Count = 1,
    ) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        thin, middle, wide = 16 * width, 32 * width, 64 * width
        self.stem = nn.Sequential(
            OrderedDict(conv=conv3x3(channels, thin), bn=nn.BatchNorm2d(thin), relu=nn.ReLU()),
        )
        self.layer1 = _stage(thin, thin, blocks, 1, shortcut)
        self.layer2 = _stage(thin, middle, blocks, 2, shortcut)
        self.layer3 = _stage(middle, wide, blocks, 2, shortcut)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(wide, classes)
        init_kaiming(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits


def _stage(inside: int, outside: int, blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = ResidualBlock(inside, outside, stride, shortcut)
    return nn.Sequential(first, *(ResidualBlock(outside, outside, 1, shortcut) for _ in range(blocks - 1)))
