"""ONE: branches of one network teach themselves by their gated ensemble (Lan, Zhu & Gong, NeurIPS 2018).

Equation
    L = Σ_i H(y, p_i) + H(y, p_e) + w(τ) Σ_i T² H(q, p_i,T),   z_e = Σ_i g_i z_i,   q = softmax(z_e / T)

| symbol | here |
|---|---|
| i | a branch: "student-0" and so on, `branches` of them; each has the network's layers from `split` on to itself |
| z_e, p_e | logits and prediction of the gated ensemble, "ensemble" |
| g_i(x) | the gate's share of a branch for an image: softmax of ReLU(BatchNorm(Linear(·))) of the features that enter \
`split`, averaged over places (`core.branches`) |
| q | without gradient |
| T | `temperature` |
| w(τ) | `weight`: by default exp(-5 (1 - e / 80)²) for the first 80 epochs e = 0, 1, ..., then 1 |

Fidelity
    As the authors' code: three branches that share all before the last stage, T = 3, the ramp-up. Differences: they add
    1e-7 to the target without normalising it again, here nothing is added; cross-entropy to q instead of KL, which
    differ by the entropy of q and have the same gradient (the log shows KL). Their networks of depth 44 and more have
    bottleneck blocks, our `resnet44` has not. One optimiser and one gradient norm (`training.clip`) are over all, since
    weights are shared. A branch is deployed as the plain network, "student-0"; "ensemble" needs all branches and the
    gate. The gate's batch normalisation has the statistics of each process and micro-batch, so these do not equal one
    batch to the last digits, whatever the network. Any network can be split whose weights before `split` belong to
    layers that end there (a vision transformer's embedded places do not).

Limits
    w = 0 is cross-entropy of the branches and of their ensemble, summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated

from pydantic import Field
from torch import nn

from limbeck.core.branches import Branches
from limbeck.core.config import Count, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import RampUp, WeightOverTime, at
from limbeck.core.writer import Needs, Step, TargetWriter


@configurable
class ONE(TargetWriter):
    """Imitate the label, and in each branch the ensemble of all.

    Attributes:
        branches: how many, two or more.
        split: the first layer of which each branch has its own, by its dotted path in the network.
        temperature: softens both sides; the term is multiplied by its square.
        weight: of the ensemble's term in each branch, beside the label's 1; a number or a schedule.
    """

    branches: Annotated[Count, Field(ge=2)] = 3
    split: str = "layer3"
    temperature: Positive = 3.0
    weight: WeightOverTime = field(default_factory=lambda: RampUp(1.0, 80))

    def __post_init__(self) -> None:
        self.needs = Needs(copies=self.branches)

    def cohort(self, networks: Sequence[nn.Module]) -> Branches:
        """Return the networks as branches of one."""
        return Branches(networks, self.split)

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and ensemble for every branch, the label for the ensemble."""
        *branches, ensemble = step.students
        soft = (ensemble.logits.detach().float() / self.temperature).softmax(-1)
        weight = at(self.weight, step.clock)
        lesson = [Target("label"), weight * Target("ensemble", soft, 1.0, self.temperature)]
        return [lesson for _ in branches] + [[Target("label")]]
