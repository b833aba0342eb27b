"""Does a student fail to imitate its teacher, or imitate the wrong thing (ESKD, Cho & Hariharan, ICCV 2019)?

Where the distance to the teacher stays large on training images as well, the student cannot mimic it. Where it is small
and the student errs all the same, mimicking is not what makes it right. Figures are unweighted and at one temperature,
so that students of other losses can be compared.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from limbeck.errors import LimbeckError


class Mimicry(NamedTuple):
    """A student beside its teacher, on the same images. Means over the images; nats, and shares in [0, 1].

    Attributes:
        kd_loss: KL(q ‖ p), q and p softened by the temperature, without the factor T².
        cross_entropy: of the student to the labels, at temperature 1.
        error: of the student.
        teacher_error: of the teacher.
        agreement: how often both name the same class.
        copied: of the images on which the teacher errs, how often the student makes the same mistake; NaN without any.
    """

    kd_loss: float
    cross_entropy: float
    error: float
    teacher_error: float
    agreement: float
    copied: float


def mimicry(
    student: Float[Tensor, "examples classes"],
    teacher: Float[Tensor, "examples classes"],
    labels: Int[Tensor, " examples"],
    temperature: float,
) -> Mimicry:
    """Compare the answers of a student and its teacher.

    Args:
        student: its logits; all is computed in float64.
        teacher: its logits, on the same images.
        labels: the true classes.
        temperature: softens both sides.

    Raises:
        LimbeckError: there is no example, or the temperature is not above 0.
    """
    if not len(labels) or temperature <= 0:
        raise LimbeckError("mimicry needs at least one example, and a temperature above 0")
    ours, theirs = student.double(), teacher.double()
    log_p, log_q = (logits.div(temperature).log_softmax(1) for logits in (ours, theirs))
    divergence = (log_q.exp() * (log_q - log_p)).sum(1).mean()
    surprise = -ours.log_softmax(1).gather(1, labels[:, None]).mean()
    said, taught = ours.argmax(1), theirs.argmax(1)
    wrong = taught != labels
    return Mimicry(
        float(divergence.clamp(min=0)),
        float(surprise),
        float((said != labels).double().mean()),
        float(wrong.double().mean()),
        float((said == taught).double().mean()),
        float((said == taught)[wrong].double().mean()),
    )
