"""Tf-KD reg: the label and a virtual teacher made by hand, right by design (Yuan et al., CVPR 2020).

Equation
    L = (1 - α) H(y, p) + α m T² H(q_T, p_T),   q = a on the true class, (1 - a) / (K - 1) elsewhere  ("paper")
    L = (1 - α) H(y, p) + (α m / K) H(softmax(q / T), p)  ("code")

| symbol | here |
|---|---|
| α | `alpha`, a number or a schedule |
| a | `correct`, 0.99 in the authors' code; it must be more than 1 / K |
| T | `temperature`; q_T = softmax(log q / T), p_T = softmax(z / T) |
| m | `multiplier` of the teacher's term |
| K | number of classes |

Fidelity
    The paper tempers both sides; its formula has no T², which is added here as everywhere. The authors' code for
    CIFAR does otherwise: the softmax is taken of the probabilities q (not of log q), so it is close to uniform at any
    T; the student is not tempered and there is no T²; `KLDivLoss()` averages over the classes too, hence 1 / K; and m
    makes up for it, or not. So "code" is label smoothing with another loss scale. What the shipped settings amount to,
    as weights of H(y, p) and of H to the nearly uniform teacher at K = 100: ResNet-18 (α 0.1, T 20, m 100) 0.9 and 0.1,
    that is label smoothing 0.1, whose target it meets to 5e-5; GoogLeNet (α 0.1, T 40, m 50) 0.9 and 0.05, that is
    smoothing 0.053 of a loss 0.95 times as large; MobileNetV2 and ShuffleNetV2 (α 0.95, T 40 and 10, m 1) 0.05 and
    0.0095, that is smoothing 0.16 of a loss 0.06 times as large. Default: "paper". Under CutMix and Mixup the virtual
    teachers of the two labels are mixed by their shares, after tempering.

Limits
    α = 0 is cross-entropy. "paper" at T = 1 and m = 1 is label smoothing with ε = α (1 - a) over the others.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.core.batch import Units
from limbeck.core.config import Fraction, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import FractionOverTime, at
from limbeck.core.writer import Step, TargetWriter
from limbeck.errors import LimbeckError


@configurable
class TfKDReg(TargetWriter):
    """Imitate the label and a virtual teacher.

    Attributes:
        alpha: the virtual teacher's share, in [0, 1]; the label has the rest.
        temperature: softens the virtual teacher, and by the paper's reading the student as well.
        correct: what the virtual teacher gives the true class, in (1 / K, 1].
        reading: the formula of the "paper" or of the authors' "code".
        multiplier: of the virtual teacher's term.
    """

    alpha: FractionOverTime = 0.1
    temperature: Positive = 20.0
    correct: Fraction = 0.99
    reading: Literal["paper", "code"] = "paper"
    multiplier: Positive = 1.0

    def check(self, classes: int) -> None:
        """Refuse a virtual teacher that is no better than chance.

        Raises:
            LimbeckError: `correct` is at most 1 / classes.
        """
        if self.correct * classes <= 1:
            raise LimbeckError(
                f"method.correct is {self.correct:g}, no better than chance among {classes} classes: "
                f"set it above {1 / classes:g}"
            )

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and virtual teacher for every student."""
        alpha = at(self.alpha, step.clock)
        weight, temperature = alpha * self.multiplier, self.temperature
        if self.reading == "code":
            weight, temperature = weight / step.students[0].logits.shape[1], 1.0
        return [
            [(1 - alpha) * Target("label"), weight * Target("virtual", self._teacher(units), 1.0, temperature)]
            for units in step.students
        ]

    def _teacher(self, units: Units) -> Float[Tensor, "units classes"]:
        def tempered(labels: Tensor) -> Tensor:
            says = virtual_teacher(labels, units.logits.shape[1], self.correct)
            return ((says.log() if self.reading == "paper" else says) / self.temperature).softmax(-1)

        return units.by_label(tempered)


def virtual_teacher(labels: Int[Tensor, " batch"], classes: int, correct: float) -> Float[Tensor, "batch classes"]:
    """Return `correct` on the true class and the rest spread evenly over the others, untempered, float32."""
    says = torch.full((len(labels), classes), (1 - correct) / (classes - 1), device=labels.device)
    return says.scatter_(1, labels[:, None], correct)
