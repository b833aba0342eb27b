"""DML: every student imitates the label and its peers (Zhang et al., Deep Mutual Learning, CVPR 2018).

Equation
    L_i = H(y, p_i) + λ r Σ_{l ≠ i} T² KL(p_l^T ‖ p_i^T)

| symbol | here |
|---|---|
| p_l^T | softmax of peer l's logits at temperature T, without gradient |
| λ | `weight`, a number or a schedule |
| T | `temperature`, 1 in the paper |
| r | `peers`: 1 / (m - 1) for "mean", 1 for "sum" |
| m | the students: the model and its peers |

Fidelity
    The paper averages over the peers, the authors' code adds them up; with two students they are one. `updates` says
    who learns from what: "simultaneous" takes one step of all students by what all said before it; "alternating" is the
    paper's Algorithm 1: student after student steps, and each listens anew to peers that have stepped already, at the
    cost of m forwards of every student (the authors' code does so too, on another batch at each turn; here it is the
    same batch, as in the Algorithm). A listener's batch statistics count its own turn only. In the logs of alternating
    updates a student's numbers are means over all turns. All students see the same view, unless `views` is "own". The
    authors add 1e-8 inside the logarithm; here it is a log-softmax.

Limits
    λ = 0 is cross-entropy for each student by itself, in either order of updates.
"""

from __future__ import annotations

from typing import Literal

from limbeck.core.config import Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import WeightOverTime, at
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class DML(TargetWriter):
    """Imitate the label and one another.

    Attributes:
        weight: of what the peers say; the label has 1.
        temperature: softens both sides; the term is multiplied by its square.
        peers: whether what they say is averaged or added up.
        updates: whether the students step together or one after the other.
        views: whether the students share one random view of each image, or have each their own.
    """

    weight: WeightOverTime = 1.0
    temperature: Positive = 1.0
    peers: Literal["mean", "sum"] = "mean"
    updates: Literal["simultaneous", "alternating"] = "simultaneous"
    views: Literal["shared", "own"] = "shared"

    def __post_init__(self) -> None:
        self.needs = Needs(students=2, own_views=self.views == "own", turns=self.updates == "alternating")

    def write(self, step: Step) -> list[list[Target]]:
        """Return the label and the other students for every student."""
        weight = at(self.weight, step.clock)
        if self.peers == "mean":
            weight /= len(step.students) - 1
        said = [
            weight
            * Target(
                f"student-{i}",
                (units.logits.detach().float() / self.temperature).softmax(-1),
                temperature=self.temperature,
            )
            for i, units in enumerate(step.students)
        ]
        return [[Target("label"), *said[:i], *said[i + 1 :]] for i in range(len(said))]
