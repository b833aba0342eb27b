"""KD: the label and a frozen teacher's softened prediction (Hinton, Vinyals & Dean, 2015).

Equation
    L = (1 - α) H(y, p) + α m r T² H(q, p_T),   q = softmax(z_teacher / T),  p_T = softmax(z / T)

| symbol | here |
|---|---|
| α | `alpha`, a number or a schedule |
| T | `temperature` |
| z_teacher | logits of the frozen teacher, in eval mode, on the same view as the student's |
| r | `reduction`: 1 for "batchmean", 1 / K for "mean" |
| m | `multiplier` of the teacher's term |

Fidelity
    Cross-entropy to the teacher instead of KL: they differ by the teacher's entropy, which has no gradient; the log
    shows KL. The mean is over examples. `torch.nn.KLDivLoss()` averages over the K classes as well, so code that uses
    its default (Tf-KD's, TAKD's) has a teacher term K times smaller: to run its α, ask for the reduction "mean". When α
    follows a schedule, the label always has the rest, 1 - α. Re-KD (a smaller network teaches) and De-KD (a poorly
    trained one teaches) of Tf-KD's paper are this with other teachers: `teacher.relation`, `training.stop_epoch`.

Limits
    α = 0 is cross-entropy. `Until(α, epochs)` is KD itself. At T = 1 it is cross-entropy to (1 - α) y + α q.
"""

from __future__ import annotations

from typing import Literal

from limbeck.core.config import Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import FractionOverTime, at
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class Hinton(TargetWriter):
    """Imitate the label and a teacher.

    Attributes:
        alpha: the teacher's share, in [0, 1]; the label has the rest.
        temperature: softens both sides; the term is multiplied by its square.
        reduction: of the teacher's term over the classes, in the words of `torch.nn.KLDivLoss`.
        multiplier: of the teacher's term.
    """

    alpha: FractionOverTime = 0.9
    temperature: Positive = 4.0
    reduction: Literal["batchmean", "mean"] = "batchmean"
    multiplier: Positive = 1.0

    needs = Needs(teacher=True)

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and teacher for every student."""
        assert step.teacher is not None
        alpha = at(self.alpha, step.clock)
        weight = alpha * self.multiplier
        if self.reduction == "mean":
            weight /= step.students[0].logits.shape[1]
        return [
            [
                (1 - alpha) * Target("label"),
                weight
                * Target("teacher", (units.logits.float() / self.temperature).softmax(-1), 1.0, self.temperature),
            ]
            for units in step.teacher
        ]
