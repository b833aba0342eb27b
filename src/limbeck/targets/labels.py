"""Cross-entropy: the label alone. The baseline of every comparison.

Equation
    L = H(y, p)

| symbol | here |
|---|---|
| y | the label (one-hot, or two labels by their shares under CutMix and Mixup) |
| p | softmax of the student's logits |

Fidelity
    Nothing to differ in.

Limits
    Every other method, at weight 0, is this one.
"""

from __future__ import annotations

from limbeck.core.config import configurable
from limbeck.core.imitation import Target
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class CrossEntropy(TargetWriter):
    """Imitate the label."""

    needs = Needs(distributions=False)

    def write(self, step: Step) -> list[list[Target]]:
        """Return the label for every student."""
        return [[Target("label")] for _ in step.students]
