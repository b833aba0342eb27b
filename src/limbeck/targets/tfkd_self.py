"""Tf-KD self: the label and the network's own trained copy (Yuan et al., CVPR 2020).

Equation
    L = (1 - α) H(y, p) + α m T² H(q, p_T),   q = softmax(z_copy / T),  p_T = softmax(z / T)  ("paper")
    L = (1 - α) H(y, p) + (α m / K) T² H(q, p_T)  ("code")

| symbol | here |
|---|---|
| α | `alpha`, a number or a schedule |
| T | `temperature` |
| m | `multiplier` of the copy's term |
| z_copy | logits of the same architecture, trained by labels alone beforehand, frozen, on the same view |
| K | number of classes |

Fidelity
    KD with a teacher that must be the student's own architecture, trained as an earlier stage: one generation of
    Born-Again Networks, as the authors agree. The student starts from new weights. Their code averages KL over the
    classes too (hence 1 / K) and multiplies by m; at K = 100 the shipped settings give the label and T² KL the weights
    0.05 and 0.0095 (MobileNetV2, ShuffleNetV2: α 0.95, T 20, m 1), 0.05 and 0.475 (ResNet-18: α 0.95, T 6, m 50), 0.1
    and 0.9 (ResNeXt-29: α 0.9, T 20, m 100), 0.1 and 0.45 (DenseNet-121: α 0.9, T 20, m 50), 0.6 and 0.2 (GoogLeNet:
    α 0.4, T 20, m 50). Default: "paper". Their copy is the best epoch on the test set; here it is the last epoch, or
    the best on a validation split (`teacher.which`).

Limits
    α = 0 is cross-entropy. "paper" at m = 1 is KD, and so is "code" at m = K.
"""

from __future__ import annotations

from typing import Literal

from limbeck.core.config import Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import FractionOverTime, at
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class TfKDSelf(TargetWriter):
    """Imitate the label and one's own trained copy.

    Attributes:
        alpha: the copy's share, in [0, 1]; the label has the rest.
        temperature: softens both sides; the term is multiplied by its square.
        reading: the formula of the "paper" or of the authors' "code".
        multiplier: of the copy's term.
    """

    alpha: FractionOverTime = 0.9
    temperature: Positive = 20.0
    reading: Literal["paper", "code"] = "paper"
    multiplier: Positive = 1.0

    needs = Needs(teacher=True, relation="same")

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and trained copy for every student."""
        assert step.teacher is not None
        alpha = at(self.alpha, step.clock)
        weight = alpha * self.multiplier
        if self.reading == "code":
            weight /= step.students[0].logits.shape[1]
        return [
            [
                (1 - alpha) * Target("label"),
                weight * Target("copy", (units.logits.float() / self.temperature).softmax(-1), 1.0, self.temperature),
            ]
            for units in step.teacher
        ]
