"""CS-KD: the label, and what the network says of another image of the same class (Yun et al., CVPR 2020).

Equation
    L = H(y, p(x)) + λ T² H(q, p_T(x)),   q = softmax(z(x') / T),  p_T(x) = softmax(z(x) / T)

| symbol | here |
|---|---|
| λ | `weight`, 1 on CIFAR and 3 on fine-grained classes in the authors' code |
| T | `temperature` |
| x' | another training image of the class of x, drawn anew each epoch by example id |
| z(x') | the network's own logits, now, without gradient |

Fidelity
    As in the authors' code: x' is a second forward in training mode, with its own batch statistics, so the running
    statistics move twice a step; the label is not imitated on x'. Differences: x' is another image than x wherever the
    class has one (theirs may draw x itself), and is a pure function of seed, epoch and id, so that one process equals
    two; an example that is alone in its class has itself for x', in another view. Under CutMix and Mixup, which the
    authors' code does not cover, x' is mixed in the same way, from siblings of both images. Cost: a second forward.

Limits
    λ = 0 is cross-entropy (with the running statistics of both forwards).
"""

from __future__ import annotations

from limbeck.core.config import NonNegative, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class CSKD(TargetWriter):
    """Imitate the label and one's own answer to a sibling.

    Attributes:
        weight: of the sibling's term, beside the label's 1.
        temperature: softens both sides; the term is multiplied by its square.
    """

    weight: NonNegative = 1.0
    temperature: Positive = 4.0

    needs = Needs(siblings=True)

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and sibling for every student."""
        assert step.siblings is not None
        temperature = self.temperature
        return [
            [
                Target("label"),
                self.weight * Target("sibling", (units.logits.float() / temperature).softmax(-1), 1.0, temperature),
            ]
            for units in step.siblings
        ]
