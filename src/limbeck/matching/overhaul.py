"""OD: features before the ReLU, where what the teacher's ReLU drops is not imitated (Heo et al., ICCV 2019).

Equation
    L = H(y, p) + α / B Σ_i 2^(i+1-n) D(r_i(F_Si), max(F_Ti, m_i)),   i = 0 .. n-1
    D(s, t) = Σ (s - t)² where s > t or t > 0
    m_c = E[x | x < 0] for x ~ N(μ_c, σ_c²) = μ_c - σ_c φ(μ_c / σ_c) / Φ(-μ_c / σ_c)

| symbol | here |
|---|---|
| F | features [B, C, H, W] before the ReLU at the end of stage i of n |
| m | `margin`, [C], of bias μ and |weight| σ of the teacher's last batch norm |
| max(F_T, m) | `margin_relu` |
| r | `Connector`, trained with the student |
| D | `partial_l2`, summed over everything |
| α | the matcher's weight: 1 / 1000 on CIFAR-100, 1 / 10000 on ImageNet |

Fidelity
    As in the authors' code: m = -3σ where Φ(-μ/σ) ≤ 0.001, although m nears 0 before that; the sum over all elements;
    the connector (1x1 convolution without bias, batch norm) and its initialisation. Ours: half precision is raised to
    float32 before the sum, which would overflow; m in float64; a σ of 0 gives min(μ, 0), what the formula tends to. In
    the authors' training the teacher's batch norms are in training mode on purpose; nothing here asks for that.

Limits
    α = 0 is cross-entropy. D is 0 where the teacher is silent and the student is at or below its margin, and grows
    without bound: it must not be subtracted as it is (`limbeck.matching.ie` has the form that may be).
"""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.matching.unit import difference, raised
from limbeck.models.layers import conv1x1

_RARELY_NEGATIVE = 0.001


@torch.no_grad()
def margin(mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]) -> Float[Tensor, " channels"]:
    """Return the expectation of each channel's responses that are negative, at most 0.

    Args:
        mean: bias of the batch norm.
        std: its weight, the sign of which does not count.
    """
    centre, spread = mean.double(), std.double().abs()
    # 0 / 0 and overflow end as huge ratios of the right sign; beyond 40 nothing below depends on the ratio any more
    ratio = (centre / spread.clamp(min=torch.finfo(torch.float64).tiny)).clamp(-40, 40)
    log_share = torch.special.log_ndtr(-ratio)
    hazard = torch.exp(-ratio.square() / 2 - math.log(2 * math.pi) / 2 - log_share)
    found = torch.where(log_share <= math.log(_RARELY_NEGATIVE), -3 * spread, centre - spread * hazard)
    return found.clamp(max=0).to(mean.dtype)


def margin_relu(
    teacher: Float[Tensor, "batch channels height width"], margin: Float[Tensor, " channels"]
) -> Float[Tensor, "batch channels height width"]:
    """Return the teacher's features where they are above the margin, and the margin elsewhere."""
    return torch.maximum(teacher, margin.to(teacher.dtype)[:, None, None])


def partial_l2(student: Float[Tensor, "*shape"], teacher: Float[Tensor, "*teacher_shape"]) -> Float[Tensor, ""]:
    """Return Σ (student - teacher)² over what counts: where the student is above the teacher, or the teacher above 0.

    Args:
        student: features before ReLU, after the connector.
        teacher: features before ReLU, after `margin_relu`.

    Raises:
        LimbeckError: features of two shapes.
    """
    gap = difference(student, teacher)
    # masked before the square, so that no overflow of what does not count reaches the gradient
    return torch.where((gap > 0) | (raised(teacher) > 0), gap, 0).square().sum()


@final
class Connector(nn.Module):
    """Brings the student's channels to the teacher's: [B, C_S, H, W] to [B, C_T, H, W]."""

    def __init__(self, channels: int, teacher_channels: int) -> None:
        super().__init__()
        conv = conv1x1(channels, teacher_channels)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(teacher_channels))

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch teacher_channels height width"]:
        """Return the features with the teacher's number of channels."""
        connected: Tensor = self.layers(features)
        return connected
