"""The pieces that the networks share.

ReLU is never in place, here and in every network of this folder: the tensor before it can be tapped (OD wants
it) and stays what it was. This costs no memory that lasts, for the backward pass keeps only ReLU's output.
"""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def conv3x3(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size (divided by `stride`, rounded up), without a bias."""
    return nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)


def conv1x1(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without a bias."""
    return nn.Conv2d(inside, outside, 1, stride, bias=False)


def conv_unit(
    inside: int,
    outside: int,
    kernel_size: int = 1,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return a convolution with a bias (`conv`), a batch norm (`bn`) and an activation (`relu`), unless it is None."""
    unit = nn.Sequential()
    unit.add_module("conv", nn.Conv2d(inside, outside, kernel_size, stride, padding, groups=groups))
    unit.add_module("bn", nn.BatchNorm2d(outside))
    if activation is not None:
        unit.add_module("relu", activation())
    return unit


@final
class Add(nn.Module):
    """The sum of a residual branch and its shortcut: a module, so that its output can be tapped."""

    def forward(self, branch: Float[Tensor, "*shape"], shortcut: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the sum of two tensors of one shape."""
        return branch + shortcut


@final
class PadShortcut(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, and `extra` channels of zeros at the end.

    He et al. 2016 (Deep residual learning, section 4.2), "option A".
    """

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = extra

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more rows columns"]:
        """Return [B, C + extra, ceil(H / stride), ceil(W / stride)]."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Return what `print(network)` shows."""
        return f"stride={self.stride}, extra={self.extra}"


def init_kaiming(network: nn.Module) -> None:
    """Draw every convolution from N(0, 2 / fan_out), and set the bias of every linear layer to 0, in place.

    He et al. 2015 (Delving deep into rectifiers), equation 14. Batch norms (1, 0) and linear weights stay at
    PyTorch's own start. The draws come from torch's global generator: `torch.manual_seed` settles them.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
