"""The residual block of three convolutions, of ResNet-50 and deeper and of ResNeXt.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, figure 5; with groups: Xie, Girshick,
Dollár, Tu, He: Aggregated residual transformations for deep neural networks, CVPR 2017, figure 3c.
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.models.layers import Add, conv1x1
from limbeck.models.resnet import make_shortcut


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, a batch norm after each; plus the shortcut, ReLU.

    What torchvision's block computes, stride in the 3x3 convolution. Theirs adds the shortcut in place, over what
    its last batch norm put out, so that neither that nor the sum can be tapped; here they can (`bn3`, `add`).

    Args:
        inside: channels of the input.
        width: channels of the 3x3 convolution.
        outside: channels of the output.
        stride: of the 3x3 convolution.
        groups: of the 3x3 convolution.
    """

    def __init__(self, inside: int, width: int, outside: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = conv1x1(inside, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(width, outside)
        self.bn3 = nn.BatchNorm2d(outside)
        self.shortcut = make_shortcut(inside, outside, stride, "conv")
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, outside, ceil(H / stride), ceil(W / stride)]."""
        branch: Tensor = self.relu1(self.bn1(self.conv1(x)))
        branch = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(branch)))))
        joined: Tensor = self.relu3(self.add(branch, self.shortcut(x)))
        return joined
