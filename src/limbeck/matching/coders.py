"""The small networks that make features compact before they are matched: FT's and IE-KD's, as in their authors' code.

All keep height and width. Paraphraser and auto-encoder are trained on the teacher's features alone, before the student:
FT's code takes SGD, learning rate 0.1, momentum 0.9, weight decay 5e-4, for 6 epochs (5 asked for); IE-KD's the same
with Nesterov's momentum for 30. What stands on the student's side is trained with the student.
"""

from __future__ import annotations

import itertools
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.matching.unit import difference


def reconstruction_loss(
    rebuilt: Float[Tensor, "batch channels height width"],
    features: Float[Tensor, "batch channels height width"],
    power: Literal[1, 2] = 1,
) -> Float[Tensor, ""]:
    """Return the mean error of a reconstruction, absolute (FT's and IE-KD's code) or squared (RepDistiller)."""
    gap = difference(rebuilt, features)
    return gap.abs().mean() if power == 1 else gap.square().mean()


@final
class Paraphraser(nn.Module):
    """Rebuilds [B, C, H, W] from the factors [B, factors, H, W] that its `encoder` puts out.

    Attributes:
        encoder: three 3x3 convolutions; the second one has fewer channels.
        decoder: three 3x3 transposed convolutions back.
    """

    def __init__(self, channels: int, factors: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.encoder = _layers(nn.Conv2d, (channels, channels, factors, factors), batch_norm)
        self.decoder = _layers(nn.ConvTranspose2d, (factors, factors, channels, channels), batch_norm)

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the reconstruction."""
        rebuilt: Tensor = self.decoder(self.encoder(features))
        return rebuilt


@final
class Translator(nn.Module):
    """Turns a student's features [B, C, H, W] into as many factors as the teacher's: [B, factors, H, W]."""

    def __init__(self, channels: int, factors: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.encoder = _layers(nn.Conv2d, (channels, channels, factors, factors), batch_norm)

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch factors height width"]:
        """Return the factors, not yet of unit length."""
        factors: Tensor = self.encoder(features)
        return factors


@final
class Coder(nn.Sequential):
    """Compact features [B, out, H, W] of features [B, in, H, W].

    LeakyReLU(0.1), then three 3x3 convolutions without bias (in, out and out channels), each with batch norm and
    LeakyReLU(0.1). The weights of one with k outputs start with the standard deviation (2 / 9k)^½.
    """

    def __init__(self, channels: int, compact: int) -> None:
        super().__init__(
            nn.LeakyReLU(0.1), *_layers(nn.Conv2d, (channels, channels, compact, compact), True, bias=False)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@final
class AutoEncoder(nn.Module):
    """Rebuilds the teacher's features [B, C, H, W] from compact ones [B, compact, H, W].

    Attributes:
        encoder: makes the compact features, which are what the student's parts are compared with.
        decoder: the way back, of the same form.
    """

    def __init__(self, channels: int, compact: int) -> None:
        super().__init__()
        self.encoder = Coder(channels, compact)
        self.decoder = Coder(compact, channels)

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the reconstruction; compare it by `reconstruction_loss`."""
        rebuilt: Tensor = self.decoder(self.encoder(features))
        return rebuilt


def _layers(
    kind: type[nn.Conv2d | nn.ConvTranspose2d], widths: tuple[int, ...], batch_norm: bool, bias: bool = True
) -> nn.Sequential:
    """Return 3x3 convolutions that keep the size, each with LeakyReLU(0.1) after it and maybe batch norm between."""
    found = nn.Sequential()
    for inside, outside in itertools.pairwise(widths):
        found.append(kind(inside, outside, 3, padding=1, bias=bias))
        if batch_norm:
            found.append(nn.BatchNorm2d(outside))
        found.append(nn.LeakyReLU(0.1))
    return found
