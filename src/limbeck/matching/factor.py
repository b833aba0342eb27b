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
| β | the matcher's weight: 500 in the authors' code |

Fidelity
    Modules, factor and the l1 distance are those of the authors' code (CIFAR-10, ResNet-56 to -20): convolutions with a
    bias, no batch norm, LeakyReLU(0.1) after each layer, also the last; the rate of the paraphraser 0.5; the mean over
    everything. RepDistiller's "FT" is another loss: factors collapsed over the channels as AT's maps are, l1, β = 200,
    batch norm in the translator only (`batch_norm`), the paraphraser trained on squared errors (`power=2`). l2 and
    cosine are of IE-KD's code; at equal factors l2 has there the gradient NaN and here 0. The form "size_free" is ours.

Limits
    β = 0 is cross-entropy. In the mean form l1 and l2 lie in [0, 2 / √(C·H·W)], so that β depends on the factor's size,
    and l2 takes one root over the whole batch, so that two half batches do not average to it. "size_free" is the mean
    over examples of ‖u_S - u_T‖₁ / √(C·H·W) or ‖u_S - u_T‖₂, in [0, 2] at any size; for l1 it is the mean form times
    √(C·H·W). ‖u_S - u_T‖₂² is twice the cosine distance. Factors of one size are needed.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.matching.attention import attention_map
from limbeck.matching.unit import difference, unit_rows

Distance: TypeAlias = Literal["l1", "l2", "cosine"]
Form: TypeAlias = Literal["mean", "size_free"]


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
