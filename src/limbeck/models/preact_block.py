"""The residual block whose batch norm and ReLU come before its convolutions.

He, Zhang, Ren, Sun: Identity mappings in deep residual networks, ECCV 2016.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.models.layers import Add, conv1x1, conv3x3

Carries: TypeAlias = Literal["input", "active"]


@final
class PreActBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-dropout-conv, plus the shortcut.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input, without a batch norm.

    Args:
        inside: channels of the input.
        outside: channels of the output.
        stride: of the first convolution.
        carries: what the shortcut takes where the shape doesn't change: the block's raw `input` (the paper),
            or the `active` one after the first batch norm and ReLU.
        dropout: probability, after the second ReLU.
    """

    def __init__(self, inside: int, outside: int, stride: int, carries: Carries, dropout: float = 0.0) -> None:
        super().__init__()
        projects = stride != 1 or inside != outside
        self.carries: Carries = "active" if projects else carries
        self.bn1 = nn.BatchNorm2d(inside)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(inside, outside, stride)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(outside, outside)
        self.shortcut = conv1x1(inside, outside, stride) if projects else nn.Identity()
        self.add = Add()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, outside, ceil(H / stride), ceil(W / stride)]."""
        active: Tensor = self.relu1(self.bn1(x))
        branch: Tensor = self.conv2(self.dropout(self.relu2(self.bn2(self.conv1(active)))))
        added: Tensor = self.add(branch, self.shortcut(active if self.carries == "active" else x))
        return added


def preact_stage(
    inside: int, outside: int, blocks: int, stride: int, *, carries: Carries, dropout: float = 0.0
) -> nn.Sequential:
    """Return `blocks` blocks; the first changes the number of channels and the size."""
    first = PreActBlock(inside, outside, stride, carries, dropout)
    rest = (PreActBlock(outside, outside, 1, carries, dropout) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
