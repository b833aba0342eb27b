"""What the papers here share: rows of unit length and their difference, never in less than float32."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.errors import LimbeckError


def raised(features: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return half-precision features in float32, in which their squares and sums fit; others stay what they are."""
    return features.float() if features.dtype in {torch.float16, torch.bfloat16} else features


def unit_rows(features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch size"]:
    """Return one row of L2 norm 1 per example.

    A row of norm below 1e-12 is divided by that instead, as `torch.nn.functional.normalize` does: a row of zeros stays
    zero, with no NaN in the gradient.
    """
    return functional.normalize(raised(features).flatten(1), dim=1)


def at_length(student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """Return the student's features of each example, stretched to the L2 norm of the teacher's.

    Whatever the student does, they are no farther from the teacher's than twice that.
    """
    length = torch.linalg.vector_norm(raised(teacher).flatten(1), dim=1, keepdim=True)
    stretched: Tensor = (unit_rows(student) * length).view_as(student)
    return stretched


def same_size(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> tuple[Float[Tensor, "batch channels rows columns"], Float[Tensor, "batch teacher_channels rows columns"]]:
    """Return both maps, the larger one averaged down to the height and width of the smaller."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    small, other = (
        one if one.shape[2:] == size else functional.adaptive_avg_pool2d(one, size) for one in (student, teacher)
    )
    return small, other


def difference(student: Float[Tensor, "*student"], teacher: Float[Tensor, "*teacher"]) -> Float[Tensor, "*student"]:
    """Return student - teacher.

    Raises:
        LimbeckError: two shapes, which torch might broadcast to a number that means nothing.
    """
    if student.shape != teacher.shape:
        raise LimbeckError(
            f"the student's features have shape {list(student.shape)}, the teacher's {list(teacher.shape)}: "
            "match layers of one size, or put a connector between them"
        )
    return raised(student) - raised(teacher)
