"""FitNets: hints from the middle of the teacher (Romero et al., ICLR 2015).

Equation
    L = H(y, p) + β D(r(v_S), u_T)
    mean form: D = mean over everything of (r(v_S) - u_T)²;   half form: D = ½ ‖r(v_S) - u_T‖², mean over examples

| symbol | here |
|---|---|
| u_T, v_S | features [B, C, H, W] of the hint layer and of the guided layer |
| r | `Regressor`, trained with the student |
| D | `hint_distance` |
| β | `weight`: 100 in the mean form |

Fidelity
    As everyone runs it today (RepDistiller): one stage, the mean form, β = 100, features after the second stage of
    blocks, r = convolution with a bias, batch norm and **ReLU** (so hints must be taken after a ReLU), with a kernel
    that brings the student's size to the teacher's. The paper's half form is followed from accounts of it, not from its
    text; there it trains the lower part of the student first, in a stage of its own, and KD follows.

Limits
    β = 0 is the method without it. The half form is the mean form times C·H·W / 2. Neither is bounded or free of scale:
    β goes with the size of the teacher's activations. Exploration (IE), which needs a bound, takes the regressed
    features at the length t of the hints: minus D, at least -4 t² / C·H·W in the mean form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import configurable_module
from limbeck.core.layers import Layer, Layers, stage_ends
from limbeck.core.matcher import Between, Explorable, Pair
from limbeck.core.schedules import WeightOverTime
from limbeck.errors import LimbeckError
from limbeck.matching.pairs import paired
from limbeck.matching.unit import at_length, difference

Shape: TypeAlias = tuple[int, int, int]


def hint_distance(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
    form: Literal["mean", "half"] = "mean",
) -> Float[Tensor, ""]:
    """Return how far the student's regressed features are from the teacher's.

    Raises:
        LimbeckError: features of two shapes.
    """
    squares = difference(student, teacher).square()
    return squares.mean() if form == "mean" else squares.sum() / (2 * len(squares))


@final
class Regressor(nn.Module):
    """Brings features of the student's shape to the teacher's: [B, C_S, H_S, W_S] to [B, C_T, H_T, W_T].

    Half the size is reached by a 3x3 convolution of stride 2, twice the size by a transposed 4x4 one of stride 2, and
    any other by one whose kernel takes off what is too much (1x1 at equal size); then batch norm and ReLU.

    Raises:
        LimbeckError: a teacher's map that is larger than the student's, but not twice as large.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        (inside, *size), (outside, *wanted) = student, teacher
        conv: nn.Conv2d | nn.ConvTranspose2d
        if size == [2 * side for side in wanted]:
            conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1)
        elif [2 * side for side in size] == wanted:
            conv = nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1)
        elif size[0] >= wanted[0] and size[1] >= wanted[1]:
            conv = nn.Conv2d(inside, outside, (1 + size[0] - wanted[0], 1 + size[1] - wanted[1]))
        else:
            raise LimbeckError(
                f"no regressor leads from maps of {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]}: "
                "take a layer of the student whose map is at least as large as the teacher's, or half as large"
            )
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch teacher_channels teacher_height teacher_width"]:
        """Return the student's features in the teacher's shape, none negative."""
        regressed: Tensor = self.layers(features)
        return regressed


@configurable_module
@final
class FitNet(Explorable):
    """Rebuild the teacher's features in the middle.

    Attributes:
        weight: β, a number or a schedule.
        layer: the student's, which is guided; None takes the end of the middle stage.
        teacher_layer: the teacher's, which gives the hints; None takes that of the same name, or of the middle stage.
        between: whether the student is compared with the teacher, or with each of its peers.
        form: mean over everything, or half the squared distance.
    """

    weight: WeightOverTime = 100.0
    layer: str | None = None
    teacher_layer: str | None = None
    between: Between = "teacher"
    form: Literal["mean", "half"] = "mean"

    term: ClassVar[str] = "hint"

    def choose(self, student: Layers, teacher: Layers) -> list[Pair]:
        """Return the named layers, or the ends of the middle stages."""
        own = None if self.layer is None else [self.layer]
        theirs = None if self.teacher_layer is None else [self.teacher_layer]
        return paired(student, teacher, own, theirs, _middle)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Make the regressor."""
        (pair,) = pairs
        own, theirs = pair.student.shape, pair.teacher.shape
        self.regressor = Regressor((own[0], own[1], own[2]), (theirs[0], theirs[1], theirs[2]))

    def gap(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return how far the regressed features are from the hints."""
        return hint_distance(self.regressor(student[0]), teacher[0], self.form)

    def exploration(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return minus the same, of regressed features at the length of the hints."""
        return -hint_distance(at_length(self.regressor(student[0]), teacher[0]), teacher[0], self.form)


def _middle(layers: Layers) -> list[Layer]:
    ends = stage_ends(layers)
    return ends[len(ends) // 2 :][:1]
