"""FT: the teacher's features, paraphrased, and the student's translation (Kim, Park & Kwak, NeurIPS 2018).

Equation
    L = H(y, p) + β D(u_S, u_T),   u_T = P(F_T) / ‖P(F_T)‖₂,   u_S = Tr(F_S) / ‖Tr(F_S)‖₂
    l1: mean |u_S - u_T|;   l2: (mean (u_S - u_T)²)^½;   cosine: mean over examples of 1 - u_S · u_T

| symbol | here |
|---|---|
| P | the encoder of a `Paraphraser` (`limbeck.matching.coders`), trained first to rebuild F_T and then frozen |
| Tr | `Translator`, likewise, trained with the student |
| u | `factor`, [B, C·H·W]; the benchmark's is `collapsed_factor`, [B, H·W] |
| D | `factor_distance` |
| β | `weight`: 500 in the authors' code |

Fidelity
    Modules, factor and the l1 distance are those of the authors' code (CIFAR-10, ResNet-56 to -20): convolutions with a
    bias, no batch norm, LeakyReLU(0.1) after each layer, also the last; the rate of the paraphraser 0.5; the mean over
    everything. RepDistiller's "FT" is another loss: factors collapsed over the channels as AT's maps are, l1, β = 200,
    batch norm in the translator only (`batch_norm`), the paraphraser trained on squared errors (`coder_error: 2`). l2
    and cosine are of IE-KD's code, whose coders are `coder: autoencoder`; at equal factors l2 has there the gradient
    NaN and here 0. The form "size_free" is ours. The coder learns in a stage of its own, with the student's batches and
    views, by SGD with a constant learning rate, momentum 0.9 and weight decay 5e-4: FT's for 6 epochs (5 asked for),
    IE-KD's with Nesterov's momentum for 30, which `coder_epochs` has to say. Factors of two sizes are averaged down to
    the smaller. Between peers, for which no paper's code has factors, nobody is trained yet: there the auto-encoder
    learns beside the students to rebuild the peer's features, by a term of its own with weight 1 that reaches nothing
    else. Between m students every term is the mean over the m - 1 others.

Limits
    β = 0 is the method without it. In the mean form l1 and l2 lie in [0, 2 / √(C·H·W)], so that β depends on the
    factor's size, and l2 takes one root over the whole batch, so that two half batches do not average to it.
    "size_free" is the mean over examples of ‖u_S - u_T‖₁ / √(C·H·W) or ‖u_S - u_T‖₂, in [0, 2] at any size; for l1 it
    is the mean form times √(C·H·W). ‖u_S - u_T‖₂² is twice the cosine distance. All are bounded, their exploration too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.config import Count, Flag, Fraction, Positive, configurable_module
from limbeck.core.layers import Layer, Layers, stage_ends
from limbeck.core.matcher import Between, Coding, Explorable, Pair, Term
from limbeck.core.schedules import WeightOverTime
from limbeck.errors import LimbeckError
from limbeck.matching.attention import attention_map
from limbeck.matching.coders import AutoEncoder, Coder, Paraphraser, Translator, reconstruction_loss
from limbeck.matching.pairs import paired
from limbeck.matching.unit import difference, same_size, unit_rows

Distance: TypeAlias = Literal["l1", "l2", "cosine"]
Form: TypeAlias = Literal["mean", "size_free"]
# of FT's paraphraser in its authors' code
_EPOCHS, _LR = 6, 0.1


def factor(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch size"]:
    """Return the features of each example as one vector of L2 norm 1; zero where all are zero."""
    return unit_rows(features)


def collapsed_factor(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch area"]:
    """Return RepDistiller's factor, without channels: the mean of their squares, of L2 norm 1."""
    return attention_map(features)


def factor_distance(
    student: Float[Tensor, "batch size"],
    teacher: Float[Tensor, "batch teacher_size"],
    distance: Distance = "l1",
    form: Form = "mean",
) -> Float[Tensor, ""]:
    """Return how far two factors are apart; the gradient is 0 where they are equal.

    Args:
        student: rows of unit length, from `factor`, `collapsed_factor` or `attention_map`.
        teacher: likewise.
        distance: see the equation.
        form: of l1 and l2, the authors' mean over all elements, or one that no size changes.

    Raises:
        LimbeckError: factors of two sizes.
    """
    gap = difference(student, teacher)
    if distance == "cosine":
        return 1 - cosines(student, teacher).mean()
    if distance == "l1":
        mean = gap.abs().mean()
        return mean if form == "mean" else mean * math.sqrt(gap.shape[1])
    # one norm over all, or one per example; its gradient is 0, not NaN, where the factors are equal
    length: Tensor = torch.linalg.vector_norm(gap, dim=None if form == "mean" else 1)
    return length / math.sqrt(gap.numel()) if form == "mean" else length.mean()


def cosines(student: Float[Tensor, "batch size"], teacher: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
    """Return the cosine of each two rows of unit length."""
    return (student * teacher).sum(1)


def factor_exploration(
    student: Float[Tensor, "batch size"],
    teacher: Float[Tensor, "batch teacher_size"],
    distance: Distance = "l1",
    form: Form = "mean",
) -> Float[Tensor, ""]:
    """Return the exploration term, which falls as the factors part: minus the distance, or the mean of |cos|.

    Args:
        student: rows of unit length.
        teacher: rows of unit length.
        distance: see the equation.
        form: as in `factor_distance`.

    Raises:
        LimbeckError: factors of two sizes.
    """
    if distance != "cosine":
        return -factor_distance(student, teacher, distance, form)
    difference(student, teacher)
    return cosines(student, teacher).abs().mean()


@configurable_module
@final
class FactorTransfer(Explorable):
    """Translate the student's features into the teacher's compact ones.

    Attributes:
        weight: β, a number or a schedule.
        layer: the student's; None takes the end of the last stage.
        teacher_layer: the teacher's; None takes that of the same name, or of the last stage.
        between: whether the student is compared with the teacher, or with each of its peers.
        coder: FT's paraphraser and translator, or IE-KD's auto-encoder and encoder.
        rate: factors per channel of the teacher's layer.
        factors: how many, instead of the rate.
        batch_norm: in the translator; the auto-encoder's always have it.
        factor: FT's whole one, or RepDistiller's, collapsed over the channels.
        distance: of the factors.
        form: of l1 and l2, the authors' mean over all elements, or one that no size changes; the cosine has one only.
        coder_epochs: how long the coder learns to rebuild the teacher's features, before the student is trained;
            between peers it learns beside the students, as long and as fast as they do.
        coder_lr: its learning rate, likewise.
        coder_error: mean absolute (1) or squared (2) error of the reconstruction.
    """

    weight: WeightOverTime = 500.0
    layer: str | None = None
    teacher_layer: str | None = None
    between: Between = "teacher"
    coder: Literal["paraphraser", "autoencoder"] = "paraphraser"
    rate: Fraction = 0.5
    factors: Count | None = None
    batch_norm: Flag = False
    factor: Literal["whole", "collapsed"] = "whole"
    distance: Distance = "l1"
    form: Form = "mean"
    coder_epochs: Count = _EPOCHS
    coder_lr: Positive = _LR
    coder_error: Literal[1, 2] = 1

    term: ClassVar[str] = "factor"

    def __post_init__(self) -> None:
        # what learns before the student is no module of this one: it is neither trained nor saved here
        self._frozen: list[nn.Module] = []
        if self.between == "peers" and self.coder != "autoencoder":
            raise ValueError("between peers an auto-encoder learns beside the students: set coder to autoencoder")
        if self.batch_norm and self.coder == "autoencoder":
            raise ValueError("batch_norm is the paraphraser's choice, and the auto-encoder always has it: leave it out")
        if self.factors is not None and self.rate != 0.5:
            raise ValueError("factors and rate say the same: set one of them")
        if self.distance == "cosine" and self.form != "mean":
            raise ValueError("form is of l1 and l2, and the cosine has one only: leave it out")
        if self.between == "peers" and (self.coder_epochs, self.coder_lr) != (_EPOCHS, _LR):
            raise ValueError(
                "between peers the coder learns beside the students, as long and as fast as they do: "
                "leave coder_epochs and coder_lr out"
            )

    def choose(self, student: Layers, teacher: Layers) -> list[Pair]:
        """Return the named layers, or the ends of the last stages."""
        own = None if self.layer is None else [self.layer]
        theirs = None if self.teacher_layer is None else [self.teacher_layer]
        return paired(student, teacher, own, theirs, _last)

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Make the student's translator, and between peers the auto-encoder of the peer."""
        (pair,) = pairs
        channels, wide = pair.student.shape[0], pair.teacher.shape[0]
        # a share such as 0.29 of 100 falls just below its whole number
        compact = self.factors or int(wide * self.rate + 1e-9)
        if compact < 1:
            raise LimbeckError(f"a rate of {self.rate} leaves no factor of {wide} channels: take a larger rate")
        self._wide, self._compact = wide, compact
        if self.coder == "autoencoder":
            self.translator: nn.Module = Coder(channels, compact)
        else:
            self.translator = Translator(channels, compact, self.batch_norm)
        if self.between == "peers":
            self.peer = AutoEncoder(wide, compact)

    def coding(self) -> Coding | None:
        """Return the paraphraser or auto-encoder of the teacher's features."""
        if self.between == "peers":
            return None
        paper = self.coder == "paraphraser"
        made = Paraphraser(self._wide, self._compact) if paper else AutoEncoder(self._wide, self._compact)
        return Coding(made, self.coder, self.coder_epochs, self.coder_lr, not paper, self.coder_error)

    def take(self, encoder: nn.Module) -> None:
        """Take the coder's encoder."""
        self._frozen[:] = [encoder.eval().requires_grad_(False)]

    def look_at_teacher(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch ..."]:
        """Return the teacher's compact features, not yet of unit length; a peer's whole ones."""
        if self.between == "peers":
            return features
        if not self._frozen:
            raise LimbeckError("FactorTransfer compares compact features: train its coding() and take() the encoder")
        found: Tensor = self._frozen[0](features)
        return found

    def understand(self, teacher: Sequence[Tensor]) -> tuple[Sequence[Tensor], Mapping[str, Term]]:
        """Return a peer's compact features, and how badly its whole ones are rebuilt from them."""
        if self.between == "teacher":
            return teacher, {}
        compact: Tensor = self.peer.encoder(teacher[0])
        rebuilt = reconstruction_loss(self.peer.decoder(compact), teacher[0], self.coder_error)
        return [compact.detach()], {"rebuilding": Term(1.0, rebuilt)}

    def join(self, other: FactorTransfer) -> None:
        """Share the other's auto-encoder of the peer, or of the teacher."""
        self._frozen = other._frozen
        if self.between == "peers":
            self.peer = other.peer

    def _factors(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "batch size"], Float[Tensor, "batch size"]]:
        own, theirs = same_size(self.translator(student[0]), teacher[0])
        if self.factor == "collapsed":
            return collapsed_factor(own), collapsed_factor(theirs)
        return factor(own), factor(theirs)

    def gap(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return the distance of the factors."""
        return factor_distance(*self._factors(student, teacher), self.distance, self.form)

    def exploration(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return minus the distance, or the mean of |cos|."""
        return factor_exploration(*self._factors(student, teacher), self.distance, self.form)


def _last(layers: Layers) -> list[Layer]:
    return stage_ends(layers)[-1:]
