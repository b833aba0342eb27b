"""The pre-activation ResNet-18 for small images that PS-KD's results are about.

He, Zhang, Ren, Sun: Identity mappings in deep residual networks, ECCV 2016, as Kim et al. (Self-knowledge
distillation with progressive refinement of targets, ICCV 2021) have it in their released code.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import conv3x3
from limbeck.models.preact_block import preact_stage


@final
class PreActResNet18(nn.Module):
    """Four stages of two blocks (64, 128, 256, 512 channels): `stem`, `layer1` to `layer4`, `pool`, `head`.

    As in PS-KD's code, and unlike the paper of 2016: a batch norm and ReLU follow the stem; none comes
    before the pooling; every shortcut carries the *activated* input, also where it is the identity; the
    weights start as PyTorch's own layers do. Ours alone: the pooling covers the map whatever its size. Theirs
    is 4 x 4, which fits images of 32 x 32 only, and for those the two are the same.

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
        self.layer1 = preact_stage(64, 64, 2, 1, carries="active")
        self.layer2 = preact_stage(64, 128, 2, 2, carries="active")
        self.layer3 = preact_stage(128, 256, 2, 2, carries="active")
        self.layer4 = preact_stage(256, 512, 2, 2, carries="active")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(512, classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits
