"""Label smoothing: the label with a share of the uniform distribution (Szegedy et al., CVPR 2016).

Equation
    L = (1 - ε) H(y, p) + ε H(u, p),   u_k = 1 / K

| symbol | here |
|---|---|
| ε | `epsilon` |
| u | uniform over all K classes, the true one included |

Fidelity
    As in the paper and in `torch.nn.functional.cross_entropy(label_smoothing=ε)`. Some code bases spread ε over the
    K - 1 wrong classes instead, which is this loss at ε · K / (K - 1).

Limits
    ε = 0 is cross-entropy.
"""

from __future__ import annotations

import torch

from limbeck.core.config import Fraction, configurable
from limbeck.core.imitation import Target
from limbeck.core.objective import Step, TargetWriter


@configurable
class LabelSmoothing(TargetWriter):
    """Imitate the label, and a little of the uniform distribution.

    Attributes:
        epsilon: the share of the uniform distribution, in [0, 1].
    """

    epsilon: Fraction = 0.1

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and uniform distribution for every student."""
        logits = step.students[0].logits
        classes = logits.shape[1]
        uniform = Target("uniform", torch.full((1, classes), 1 / classes, dtype=logits.dtype, device=logits.device))
        return [[(1 - self.epsilon) * Target("label"), self.epsilon * uniform] for _ in step.students]
