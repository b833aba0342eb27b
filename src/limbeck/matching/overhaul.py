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
| α | `weight`: 1 / 1000 on CIFAR-100, 1 / 10000 on ImageNet |

Fidelity
    As in the authors' code: m = -3σ where Φ(-μ/σ) ≤ 0.001, although m nears 0 before that; the sum over all elements;
    the connector (1x1 convolution without bias, batch norm) and its initialisation. Ours: half precision is raised to
    float32 before the sum, which would overflow; m in float64; a σ of 0 gives min(μ, 0), what the formula tends to;
    maps of two sizes are averaged down to the smaller. Without a batch norm before the layer, `margin: measured` takes
    the mean of the teacher's negative responses over the training images (the author's advice). In the authors'
    training the teacher's batch norms are in training mode on purpose, which moves the teacher's statistics; with
    `batch_statistics` they normalise by the batch and nothing of the teacher moves; its one forward pass serves KD too,
    whose targets are then of the batch's statistics as well. The default is a teacher in eval mode, as everywhere here.

Limits
    α = 0 is the method without it. D is 0 where the teacher is silent and the student is at or below its margin, and
    grows without bound: it must not be subtracted as it is. Exploration (IE) takes the student's features at the length
    t of the teacher's: minus D, mean over examples, at least -4 t² a layer, which bounds any part of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.analysis.cka import float64
from limbeck.core.config import Flag, Positive, configurable_module
from limbeck.core.layers import Layers, ends_before_relu
from limbeck.core.matcher import Between, Explorable, Pair
from limbeck.core.schedules import WeightOverTime
from limbeck.errors import LimbeckError
from limbeck.matching.pairs import paired
from limbeck.matching.unit import at_length, difference, raised, same_size
from limbeck.models.layers import conv1x1

_RARELY_NEGATIVE = 0.001


@torch.no_grad()
def margin(mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]) -> Float[Tensor, " channels"]:
    """Return the expectation of each channel's responses that are negative, at most 0.

    Args:
        mean: bias of the batch norm.
        std: its weight, the sign of which does not count.
    """
    centre, spread = float64(mean), float64(std).abs()
    # 0 / 0 and overflow end as huge ratios of the right sign; beyond 40 nothing below depends on the ratio any more
    ratio = (centre / spread.clamp(min=torch.finfo(torch.float64).tiny)).clamp(-40, 40)
    log_share = torch.special.log_ndtr(-ratio)
    hazard = torch.exp(-ratio.square() / 2 - math.log(2 * math.pi) / 2 - log_share)
    found = torch.where(log_share <= math.log(_RARELY_NEGATIVE), -3 * spread, centre - spread * hazard)
    return found.clamp(max=0).to(mean)


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


@configurable_module
@final
class Overhaul(Explorable):
    """Imitate the teacher's features before the ReLU, where they matter.

    Attributes:
        weight: α, a number or a schedule.
        layers: the student's, before a ReLU; None takes the last such layer of each stage.
        teacher_layers: the teacher's, in the same order; None takes those of the student's names, or the last ones.
        margin: from the batch norm before each layer, or measured over the training images.
        batch_statistics: whether the teacher's batch norms normalise by the batch, as in the authors' code.
        stages: the weight of each layer; None halves it from each to the one before, and gives 1 to the last.
    """

    weight: WeightOverTime = 1e-3
    layers: tuple[str, ...] | None = None
    teacher_layers: tuple[str, ...] | None = None
    margin: Literal["batch_norm", "measured"] = "batch_norm"
    batch_statistics: Flag = False
    stages: tuple[Positive, ...] | None = None

    term: ClassVar[str] = "overhaul"

    @property
    def between(self) -> Between:  # type: ignore[override]
        """The teacher: margins are of a network that stands still."""
        return "teacher"

    def choose(self, student: Layers, teacher: Layers) -> list[Pair]:
        """Return the named layers, or the last of each stage before a ReLU."""
        pairs = paired(student, teacher, self.layers, self.teacher_layers, ends_before_relu)
        for layer in [layer for pair in pairs for layer in pair if not layer.before_relu]:
            raise LimbeckError(
                f"layer {layer.path!r} does not go through a ReLU, and OD takes features before one: "
                "limbeck list layers MODEL shows which do"
            )
        if self.stages is not None and len(self.stages) != len(pairs):
            raise LimbeckError(f"stages gives {len(self.stages)} weights to {len(pairs)} layers: give one to each")
        return pairs

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Make the connectors, and take the margins from the teacher's batch norms."""
        self._known = self.margin == "batch_norm"
        self.connectors = nn.ModuleList(Connector(pair.student.shape[0], pair.teacher.shape[0]) for pair in pairs)
        for i, pair in enumerate(pairs):
            norm, found = pair.teacher.norm, torch.zeros(pair.teacher.shape[0])
            if self.margin == "batch_norm":
                if norm is None or not norm.affine:
                    raise LimbeckError(
                        f"OD reads its margin from the batch norm before layer {pair.teacher.path!r} of the teacher, "
                        "and there is none: set margin to measured"
                    )
                found = margin(norm.bias.detach(), norm.weight.detach())
            self.register_buffer(f"margin_{i}", found)

    @property
    def surveys(self) -> bool:  # type: ignore[override]
        """Whether margins are measured."""
        return self.margin == "measured"

    def survey(self, teacher: Sequence[Tensor]) -> Tensor:
        """Return each channel's sum and number of negative responses, float64."""
        exact = [float64(one) for one in teacher]
        negative = [one.clamp(max=0).sum((0, 2, 3)) for one in exact]
        return torch.cat([*negative, *((one < 0).sum((0, 2, 3)).double() for one in exact)])

    def settle(self, sums: Tensor) -> None:
        """Take the mean of each channel's negative responses as its margin; of one that has none, 0."""
        total, count = sums.chunk(2)
        widths = [len(self.get_buffer(f"margin_{i}")) for i in range(len(self.connectors))]
        for i, mean in enumerate(torch.split(total / count.clamp(min=1), widths)):
            self.get_buffer(f"margin_{i}").copy_(mean)
        self._known = True

    def _brought_together(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        if not self._known:
            raise LimbeckError(
                "Overhaul has no margins yet: add up survey() of the teacher's features, and settle() them"
            )
        return [
            same_size(connector(own), margin_relu(theirs, self.get_buffer(f"margin_{i}")))
            for i, (connector, own, theirs) in enumerate(zip(self.connectors, student, teacher, strict=True))
        ]

    def _added_up(self, distances: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
        weights = self.stages or [2.0 ** (i + 1 - len(distances)) for i in range(len(distances))]
        weighted = [weight * distance for weight, distance in zip(weights, distances, strict=True)]
        return sum(weighted[1:], weighted[0])

    def gap(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return the partial L2 distance, mean over examples, of the weighted layers."""
        found = [partial_l2(own, theirs) / len(own) for own, theirs in self._brought_together(student, teacher)]
        return self._added_up(found)

    def exploration(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return minus the same, of the student's features at the teacher's length."""
        together = self._brought_together(student, teacher)
        return self._added_up([explore_overhaul(own, theirs) for own, theirs in together])


def explore_overhaul(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Return OD's exploration term: minus the partial L2 of the student's features at the teacher's length.

    The mean over examples; in [-4 t², 0] for teachers of length t. The stretching takes no sign away, so what counts is
    still told by the teacher's sign and by who is above whom.

    Args:
        student: features before ReLU of the channels that explore, after the connector.
        teacher: features before ReLU, after `margin_relu`.
    """
    return -partial_l2(at_length(student, teacher), teacher) / len(student)
