"""IE-KD: some channels inherit the teacher's features, the others explore away from them (Huang et al., CVPR 2021).

Equation
    L = H(y, p) + λ_inh L_inh + λ_exp L_exp,   L_inh = D(u_inh, u_T),   L_exp = -D(u_exp, u_T)
    u = F / ‖F‖₂ of the compact features F: of the teacher's features, and of each part of the student's channels

| symbol | here |
|---|---|
| inh, exp | a `Split` of the student's channels, natural or random |
| F_T | by the encoder of an `AutoEncoder` (`limbeck.matching.coders`), trained to rebuild the teacher's, then frozen |
| F_inh, F_exp | a `Coder` each, likewise, trained with the student |
| D | `limbeck.matching.factor.factor_distance`: l1, l2 or cosine |
| L_inh, L_exp | `inherit`, `explore` |
| λ | the matcher's weights: 1 in the released code, which changes next to nothing; 50 is said to be the best |

Fidelity
    As in the authors' code, which covers FT's features only: the last stage after ReLU, half of the channels (the first
    half, or a permutation drawn once), the coders, unit length per example, the sign of the exploration inside the
    loss, and with cosine the mean of |cos|, which seeks what is orthogonal, not what is opposite. There the roles of
    teacher and student are named the other way round; here they are the paper's. The paper's text was not at hand.
    Ours: other ratios, the ascending order of the indices within a part, "size_free", a gradient of 0 where l2 has its
    kink, and no decoders on the student's side, which got no gradient. How the paper explores with AT and OD is not
    known: here AT's maps take the place of u, and OD's partial L2 is taken of vectors of unit length
    (`explore_overhaul`).

Limits
    λ = 0 is cross-entropy; ratio 1 is the wrapped method, ratio 0 exploration alone. The exploration is bounded, so the
    loss is: for u of D elements -2 / √D in the mean form, -2 in the size-free form, 0 for |cos|, and -4 per example for
    OD, where ‖u_S - u_T‖² ≤ 4 bounds any part of the sum; OD's own sum, subtracted, would have no bound.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.matching.factor import Distance, Form, cosines, factor, factor_distance
from limbeck.matching.overhaul import partial_l2


class Split(NamedTuple):
    """The two parts of the student's channels, disjoint and together all of them.

    Attributes:
        inherit: indices, ascending; empty at ratio 0.
        explore: the others, ascending; empty at ratio 1.
    """

    inherit: Int64[Tensor, " inherit"]
    explore: Int64[Tensor, " explore"]


def natural_split(channels: int, ratio: float = 0.5) -> Split:
    """Let the first of the channels inherit and the others explore.

    Args:
        channels: how many the student's layer has.
        ratio: the share that inherits, in [0, 1], rounded down to whole channels.

    Raises:
        LimbeckError: a ratio outside [0, 1], or one inside it that leaves a part empty.
    """
    return _cut(torch.arange(channels), ratio)


def random_split(channels: int, ratio: float = 0.5, seed: int = 0) -> Split:
    """As `natural_split`, of a permutation that depends on the seed and on `channels` alone."""
    return _cut(torch.randperm(channels, generator=torch.Generator().manual_seed(seed)), ratio)


def _cut(order: Int64[Tensor, " channels"], ratio: float) -> Split:
    if not 0 <= ratio <= 1:
        raise LimbeckError(f"the ratio of channels that inherit is {ratio} but must lie in [0, 1]")
    # a share such as 0.29 of 100 falls just below its whole number
    inherit = int(len(order) * ratio + 1e-9)
    if 0 < ratio < 1 and not 0 < inherit < len(order):
        raise LimbeckError(
            f"a ratio of {ratio} leaves one part of {len(order)} channels empty: choose one nearer to 0.5"
        )
    return Split(order[:inherit].sort().values, order[inherit:].sort().values)


def inherit(
    student: Float[Tensor, "batch size"],
    teacher: Float[Tensor, "batch teacher_size"],
    distance: Distance = "l1",
    form: Form = "mean",
) -> Float[Tensor, ""]:
    """Return the inheritance term: the distance of two factors of unit length; arguments as `factor_distance`."""
    return factor_distance(student, teacher, distance, form)


def explore(
    student: Float[Tensor, "batch size"],
    teacher: Float[Tensor, "batch teacher_size"],
    distance: Distance = "l1",
    form: Form = "mean",
) -> Float[Tensor, ""]:
    """Return the exploration term, which falls as the factors part: minus the distance, or the mean of |cos|.

    Args:
        student: rows of unit length, of the channels that explore.
        teacher: rows of unit length.
        distance: see the equation.
        form: as in `factor_distance`.

    Raises:
        LimbeckError: factors of two sizes.
    """
    found = factor_distance(student, teacher, distance, form)
    return cosines(student, teacher).abs().mean() if distance == "cosine" else -found


def explore_overhaul(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Return OD's exploration term in [-4, 0]: minus the partial L2 of features of unit length, mean over examples.

    The length takes no sign away, so what counts is still told by the teacher's sign and by who is above whom.

    Args:
        student: features before ReLU of the channels that explore, after the connector.
        teacher: features before ReLU, after `margin_relu`.
    """
    return -partial_l2(factor(student), factor(teacher)) / len(student)
