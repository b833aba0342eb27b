"""The plain five-layer network that Tf-KD trains beside the deep ones: plain_cnn.

Yuan, Tay, Li, Wang, Feng: Revisiting knowledge distillation via label smoothing regularization, CVPR 2020, as their
released code has it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, final

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked


@final
class PlainCNN(nn.Module):
    """Three 3x3 convolutions (32, 64, 128 channels) and two linear layers: `layer1` to `layer3`, `hidden`, `head`.

    Each convolution has a bias, and behind it a batch norm, a max-pooling of 2 x 2 and only then the ReLU. The
    weights start as PyTorch's own layers do. Ours alone: `resize` averages the last maps to 4 x 4, for images that
    are not 32 x 32; at 32 x 32, the only size that theirs takes, it changes nothing.

    To tap: `layer3.pool` and `hidden.bn` come before a ReLU, `layer3` after one.

    Args:
        classes: how many logits.
        channels: of the images.
        dropout: probability, after the ReLU of the first linear layer.
    """

    @checked
    def __init__(self, classes: Count, channels: Count, dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> None:
        super().__init__()
        self.layer1 = _layer(channels, 32)
        self.layer2 = _layer(32, 64)
        self.layer3 = _layer(64, 128)
        self.resize = nn.AdaptiveAvgPool2d(4)
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(
            OrderedDict(
                linear=nn.Linear(4 * 4 * 128, 128),
                bn=nn.BatchNorm1d(128),
                relu=nn.ReLU(),
                dropout=nn.Dropout(dropout),
            ),
        )
        self.head = nn.Linear(128, classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more; in training, of two images at least."""
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.head(self.hidden(self.flatten(self.resize(x))))
        return logits


def _layer(inside: int, outside: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, padding=1)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outside), pool=nn.MaxPool2d(2), relu=nn.ReLU()))
