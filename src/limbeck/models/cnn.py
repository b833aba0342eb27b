"""A small convolutional network for small images: it learns 8 x 8 digits within seconds on a CPU."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count
from limbeck.models.arguments import checked
from limbeck.models.layers import init_kaiming

Norm: TypeAlias = Literal["batch", "none"]


@final
class SmallCNN(nn.Module):
    """Three convolutions with pooling between them: `stem`, `layer1`, `layer2`, `pool`, `head`.

    The pooling takes means, never maxima, for its gradient is then the same at every run on a GPU too.

    Args:
        classes: how many logits.
        channels: of the images.
        width: channels of the stem; `layer1` has 2 and `layer2` has 4 times as many.
        norm: `batch` norm after every convolution, or `none`: then what one example gives doesn't depend on
            the others in its batch, so that a batch split over processes gives what the whole one gives.
    """

    @checked
    def __init__(self, classes: Count, channels: Count, width: Count = 8, norm: Norm = "batch") -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(channels, width, norm))
        self.layer1 = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2)) | _convolution(width, 2 * width, norm))
        self.layer2 = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2)) | _convolution(2 * width, 4 * width, norm))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(4 * width, classes)
        init_kaiming(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of images of any size, 8 x 8 or more."""
        x = self.layer2(self.layer1(self.stem(x)))
        logits: Tensor = self.head(self.flatten(self.pool(x)))
        return logits


def _convolution(inside: int, outside: int, norm: Norm) -> OrderedDict[str, nn.Module]:
    if norm == "none":
        return OrderedDict(conv=nn.Conv2d(inside, outside, 3, padding=1), relu=nn.ReLU())
    conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return OrderedDict(conv=conv, bn=nn.BatchNorm2d(outside), relu=nn.ReLU())
