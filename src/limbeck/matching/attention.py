"""AT: where the student looks, as the teacher does (Zagoruyko & Komodakis, ICLR 2017).

Equation
    L = H(y, p) + β Σ_j D(Q_Sj, Q_Tj),   Q = q / ‖q‖₂,   q = mean over the channels c of A_c²
    mean form: D = mean over examples and positions of (Q_S - Q_T)²;   sum form: their sum

| symbol | here |
|---|---|
| A | features [B, C, H, W] of the layer j |
| Q | `attention_map`, [B, H·W] |
| D | `attention_distance` |
| β | the matcher's weight: 1000 in the mean form; 1000 / (B·H·W) in the sum form is the same |

Fidelity
    Map and mean form are those of the authors' code: the power is 2, channels are averaged (which the norm takes out
    again), ‖q‖ below 1e-12 counts as 1e-12. The paper has β/2 in its equation and gives β near 0.1, which belongs to
    the sum form; the code has the mean form without 1/2 and β = 1000. Half precision is raised to float32, ours. The
    authors take the end of each group of blocks: sums before batch norm and ReLU on CIFAR (WRN), after ReLU on ImageNet
    (ResNet).

Limits
    β = 0 is cross-entropy. D is 0 if and only if both look at the same places equally, whatever the scale; at most 2
    per example in the sum form, since maps are not negative. Maps of one size are needed; channels may differ.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from limbeck.matching.unit import difference, raised, unit_rows


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
