"""Wide residual networks, WRN-depth-width: wrn_16_2, wrn_28_10, ...

Zagoruyko, Komodakis: Wide residual networks, BMVC 2016, table 1 and section 2.4 (dropout).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, final

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import blocks_plus, checked
from limbeck.models.layers import conv3x3, init_kaiming
from limbeck.models.preact_block import preact_stage


@final
class WideResNet(nn.Module):
    """A pre-activation network of 6n + 4 layers: `stem`, `layer1` to `layer3` of n blocks, `last`, `head`.

    Args:
        depth: 6n + 4, n >= 1.
        widen: multiplies the 16, 32 and 64 channels of the three stages; the stem keeps 16.
        classes: how many logits.
        channels: of the images.
        dropout: probability, between the two convolutions of every block, after the ReLU.
    """

    @checked
    def __init__(
        self,
        depth: Annotated[int, blocks_plus(6, 4)],
        widen: Count,
        classes: Count,
        channels: Count,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        thin, middle, wide = 16 * widen, 32 * widen, 64 * widen
        self.stem = conv3x3(channels, 16)
        self.layer1 = preact_stage(16, thin, blocks, 1, carries="input", dropout=dropout)
        self.layer2 = preact_stage(thin, middle, blocks, 2, carries="input", dropout=dropout)
        self.layer3 = preact_stage(middle, wide, blocks, 2, carries="input", dropout=dropout)
        self.last = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(wide), relu=nn.ReLU()))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(wide, classes)
        init_kaiming(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.last(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits
