"""Label smoothing: the label with a share of the uniform distribution (Szegedy et al., CVPR 2016).

Equation
    L = (1 - ε) H(y, p) + ε H(u, p),   u_k = 1 / K, or 1 / (K - 1) on the wrong classes

| symbol | here |
|---|---|
| ε | `epsilon` |
| u | `spread`: uniform over "all" K classes, the true one included, or over the "others" |

Fidelity
    "all", the default, is the paper's, and `torch.nn.functional.cross_entropy(label_smoothing=ε)`. "others" is what
    Tf-KD's code does: "all" at ε · K / (K - 1), so that 0.1 over 100 classes is 0.10101. Under CutMix and Mixup the
    wrong classes are those of each label, by its share.

Limits
    ε = 0 is cross-entropy. KD at T = 1 from a teacher that always answers u is this.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Units
from limbeck.core.config import Fraction, configurable
from limbeck.core.imitation import Target
from limbeck.core.writer import Step, TargetWriter


@configurable
class LabelSmoothing(TargetWriter):
    """Imitate the label, and a little of the uniform distribution.

    Attributes:
        epsilon: the share of the uniform distribution, in [0, 1].
        spread: over "all" classes, or over the "others" only, without the true one.
    """

    epsilon: Fraction = 0.1
    spread: Literal["all", "others"] = "all"

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and uniform distribution for every student."""
        return [
            [(1 - self.epsilon) * Target("label"), self.epsilon * Target("uniform", self._uniform(units))]
            for units in step.students
        ]

    def _uniform(self, units: Units) -> Float[Tensor, "#units classes"]:
        logits, classes = units.logits, units.logits.shape[1]
        if self.spread == "all":
            return torch.full((1, classes), 1 / classes, dtype=logits.dtype, device=logits.device)
        return units.by_label(lambda labels: (1 - functional.one_hot(labels, classes).to(logits.dtype)) / (classes - 1))
