"""The network whose blocks widen evenly: pyramidnet200, with alpha 240, as PS-KD trains it.

Han, Kim, Kim: Deep pyramidal residual networks, CVPR 2017, section 3 and table 1 (bottleneck, additive).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count, Fraction
from limbeck.models.arguments import blocks_plus, checked
from limbeck.models.layers import Add, PadShortcut, conv1x1, conv3x3, init_kaiming
from limbeck.models.shakedrop import ShakeDrop


@final
class PyramidBlock(nn.Module):
    """BN-conv-BN-ReLU-conv-BN-ReLU-conv-BN (1x1, 3x3, 1x1), `shake`, plus the shortcut.

    The shortcut takes means of 2 x 2 pixels at stride 2, and adds channels of zeros.

    Args:
        inside: channels of the input.
        width: channels of the 3x3 convolution; the output has 4 times as many.
        stride: of the 3x3 convolution, 1 or 2.
        drop: probability that `shake` (ShakeDrop) scales the branch; 0 leaves it as it is.
    """

    def __init__(self, inside: int, width: int, stride: int, drop: float) -> None:
        super().__init__()
        outside = 4 * width
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = conv1x1(inside, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(width, outside)
        self.bn4 = nn.BatchNorm2d(outside)
        self.shake = ShakeDrop(drop) if drop > 0 else nn.Identity()
        pool = nn.Identity() if stride == 1 else nn.AvgPool2d(2, ceil_mode=True)
        self.shortcut = nn.Sequential(OrderedDict(pool=pool, pad=PadShortcut(1, outside - inside)))
        self.add = Add()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, 4 * width, ceil(H / stride), ceil(W / stride)]."""
        branch: Tensor = self.relu1(self.bn2(self.conv1(self.bn1(x))))
        branch = self.bn4(self.conv3(self.relu2(self.bn3(self.conv2(branch)))))
        added: Tensor = self.add(self.shake(branch), self.shortcut(x))
        return added


@final
class PyramidNet(nn.Module):
    """A network of 9n + 2 layers: `stem`, `layer1` to `layer3` of n blocks each, `last`, `pool`, `head`.

    Block k of 3n has 4 * round(16 + `alpha` * k / 3n) channels. As in PS-KD's code (Kim et al., ICCV 2021): the
    stem's batch norm has no ReLU behind it; convolutions start from N(0, 2 / fan_out) (Kaiming, fan-out), the
    linear layer as PyTorch's own does. torchvision has no such network.
    Ours alone: the pooling covers the map whatever its size. Theirs is 8 x 8, which fits images of 32 x 32 only.

    To tap: `last.bn` comes before a ReLU, `last` after one; `layer3` puts out a sum that no ReLU follows.

    Args:
        depth: 9n + 2, n >= 1.
        alpha: by how much the blocks widen in all.
        classes: how many logits.
        channels: of the images.
        shakedrop: probability that ShakeDrop scales the last block's branch (0.5 in the papers); it grows
            evenly from the first block on. 0 is off.
    """

    @checked
    def __init__(
        self,
        depth: Annotated[int, blocks_plus(9, 2)],
        alpha: Count,
        classes: Count,
        channels: Count,
        shakedrop: Fraction = 0.0,
    ) -> None:
        super().__init__()
        blocks = (depth - 2) // 9 * 3
        self.stem = nn.Sequential(OrderedDict(conv=conv3x3(channels, 16), bn=nn.BatchNorm2d(16)))
        stages: list[list[PyramidBlock]] = [[], [], []]
        inside = 16
        for number in range(1, blocks + 1):
            stage, place = divmod(number - 1, blocks // 3)
            width = round(16 + alpha * number / blocks)
            stride = 2 if stage > 0 and place == 0 else 1
            stages[stage].append(PyramidBlock(inside, width, stride, shakedrop * number / blocks))
            inside = 4 * width
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*stage) for stage in stages)
        self.last = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(inside), relu=nn.ReLU()))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(inside, classes)
        init_kaiming(self)
        self.head.reset_parameters()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.last(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits
