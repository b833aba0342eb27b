"""AT: where the student looks, as the teacher does (Zagoruyko & Komodakis, ICLR 2017).

Equation
    L = H(y, p) + β Σ_j D(Q_Sj, Q_Tj),   Q = q / ‖q‖₂,   q = mean over the channels c of A_c²
    mean form: D = mean over examples and positions of (Q_S - Q_T)²;   sum form: their sum

| symbol | here |
|---|---|
| A | features [B, C, H, W] of the layer j |
| Q | `attention_map`, [B, H·W] |
| D | `attention_distance` |
| β | `weight`: 1000 in the mean form; 1000 / (H·W) in the matcher's sum form is the same |

Fidelity
    Map and mean form are those of the authors' code: the power is 2, channels are averaged (which the norm takes out
    again), ‖q‖ below 1e-12 counts as 1e-12. The paper has β/2 in its equation and gives β near 0.1, which belongs to
    the sum form; the code has the mean form without 1/2 and β = 1000. The matcher's default is the code's. In its sum
    form it adds up positions and takes the mean over examples, so that β = 1000 / (H·W) is the same. Half precision is
    raised to float32, ours. The authors take the end of each group of blocks: sums before batch norm and ReLU on CIFAR
    (WRN: `layers: [layer1, layer2, layer3]`), after ReLU on ImageNet (ResNet). Maps of two sizes, which the authors do
    not have, are averaged down to the smaller one before they get unit length. KD beside it is a method of its own.

Limits
    β = 0 is the method without it. D is 0 if and only if both look at the same places equally, whatever the scale; at
    most 2 per example in the sum form, since maps are not negative, which bounds its exploration. Channels may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from jaxtyping import Float
from torch import Tensor

from limbeck.core.config import configurable_module
from limbeck.core.layers import Layers, stage_ends
from limbeck.core.matcher import Between, Explorable, Pair
from limbeck.core.schedules import WeightOverTime
from limbeck.matching.pairs import paired
from limbeck.matching.unit import difference, raised, same_size, unit_rows


def attention_map(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch area"]:
    """Return where the activations are large, of L2 norm 1 for each example; zero where all features are zero."""
    return unit_rows(raised(features).square().mean(1))


def attention_distance(
    student: Float[Tensor, "batch area"],
    teacher: Float[Tensor, "batch teacher_area"],
    form: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Return how far two attention maps are apart.

    Args:
        student: of unit length, from `attention_map`.
        teacher: likewise.
        form: the mean over examples and positions (the authors' code, β = 1000), or the sum.

    Raises:
        LimbeckError: maps of two sizes.
    """
    squares = difference(student, teacher).square()
    return squares.mean() if form == "mean" else squares.sum()


@configurable_module
@final
class AttentionTransfer(Explorable):
    """Look where the teacher looks. Of both networks' features only [B, H·W] is kept.

    Attributes:
        weight: β, a number or a schedule.
        layers: the student's; None takes the end of each stage.
        teacher_layers: the teacher's, in the same order; None takes those of the student's names, or the stages' ends.
        between: whether the student is compared with the teacher, or with each of its peers.
        form: mean or sum over the positions; over examples it is the mean.
    """

    weight: WeightOverTime = 1000.0
    layers: tuple[str, ...] | None = None
    teacher_layers: tuple[str, ...] | None = None
    between: Between = "teacher"
    form: Literal["mean", "sum"] = "mean"

    term: ClassVar[str] = "attention"

    def choose(self, student: Layers, teacher: Layers) -> list[Pair]:
        """Return the named layers, or the ends of the stages."""
        return paired(student, teacher, self.layers, self.teacher_layers, stage_ends)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Do nothing: there is nothing between the maps."""

    def look(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Return the mean over the channels of the squares."""
        return raised(features).square().mean(1, keepdim=True)

    def look_at_teacher(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """Return the same of the teacher's."""
        return self.look(features)

    def gap(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return the distance of the attention maps, added up over the layers."""
        found = []
        for own, theirs in zip(student, teacher, strict=True):
            maps = [unit_rows(one) for one in same_size(own, theirs)]
            distance = attention_distance(maps[0], maps[1], self.form)
            found.append(distance if self.form == "mean" else distance / len(own))
        return sum(found[1:], found[0])

    def exploration(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return minus the distance."""
        return -self.gap(student, teacher)
