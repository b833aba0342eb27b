"""KDCL: the label, and an ensemble of students that learn together, each from its own view (Guo et al., CVPR 2020).

Equation
    L = Σ_i [ H(y, p_i) + λ T² H(q, p_i,T) ],   q = softmax(z_t / T),  p_i,T = softmax(z_i / T)
    naive:    z_t = z_k,  k = argmin_i H(y, p_i)
    linear:   z_t = Σ_i α_i z_i,  α = argmin H(y, softmax(Σ_i α_i z_i)),  α_i ≥ 0, Σ_i α_i = 1
    minlogit: z_t,j = min_i (z_i,j - z_i,c),  c the true class
    general:  q = Σ_i w_i softmax(z_i / T),  w = argmin wᵀ C w,  w_i ≥ 0, Σ_i w_i = 1

| symbol | here |
|---|---|
| λ | `weight`, a number or a schedule; 1 in the paper |
| T | `temperature`; 2 on CIFAR-100 in the paper, not stated for ImageNet |
| z_i | logits of student i on its own view of the image (`views: own`, the paper's ICL) |
| z_t | `naive`, `linear`, `minlogit`: the paper's three targets of logits |
| C_ij | mean over held-out examples of (f_i - 1)(f_j - 1), f_i the probability that student i gives the true class |
| w | `general_weights`; Eq. 11 of the paper is `closed_form_weights` |

Fidelity
    There is no code by the authors, and the paper leaves much open; here is what was chosen. The target carries no
    gradient; `target_gradient` lets it (through the logits, not through the choice of k, α or w). The three targets
    of logits are made for each example; with `per: batch` naive and linear choose one k or α for the batch that this
    process sees at once. All choices are made at T = 1. Linear's α is exact (duality gap below 1e-6). General starts
    from equal weights and weighs anew after every epoch, by probabilities at T = 1 in eval mode; it averages
    probabilities softened by T. Eq. 11 forgets w ≥ 0, and gives negative weights where students differ in strength;
    the least error under the constraint is used instead, or with `weights: closed-form` Eq. 11, where negative
    probabilities are set to 0 and the rest is renormalised. The log has w. Mixed labels (CutMix, Mixup), which the
    paper does not cover: naive and linear take their cross-entropy, minlogit subtracts the expected target logit.

Limits
    λ = 0 is every student alone, and so is one student at any λ. Equal students have their own softmax for target.
    At T = 1 and hard labels, the label's loss at z_t: minlogit ≤ linear ≤ naive ≤ any student.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Units
from limbeck.core.cohort import Cohort
from limbeck.core.config import Flag, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import WeightOverTime, at
from limbeck.core.simplex import closed_form_weights, easiest_mixture, general_weights
from limbeck.core.writer import Needs, Room, Step, TargetWriter

Logits = Float[Tensor, "students batch classes"]
Labels = Int[Tensor, " batch"] | Float[Tensor, "batch classes"]
Per = Literal["sample", "batch"]


def naive(logits: Logits, labels: Labels, per: Per = "sample") -> Float[Tensor, "batch classes"]:
    """Return the logits of the student with the least cross-entropy, of each sample or of the batch (Eq. 4).

    Args:
        logits: of every student. Half precision is raised to float32, here and in `linear` and `minlogit`.
        labels: classes, or distributions over them.
        per: what a student is chosen for.
    """
    logits, q = _read(logits, labels)
    losses = -(q * logits.log_softmax(-1)).sum(-1)
    losses = losses if per == "sample" else losses.mean(1, keepdim=True)
    return logits[losses.argmin(0), torch.arange(len(q), device=q.device)]


def linear(logits: Logits, labels: Labels, per: Per = "sample") -> Float[Tensor, "batch classes"]:
    """Return the convex combination of logits with the least cross-entropy, of each sample or of the batch (Eq. 5).

    It is found in float64, with a duality gap below 1e-6 (`core.simplex`); arguments as in `naive`.
    """
    logits, q = _read(logits, labels)
    group = 1 if per == "sample" else 0
    return easiest_mixture(logits.movedim(0, 1).unsqueeze(group), q.unsqueeze(group)).flatten(0, 1)


def minlogit(logits: Logits, labels: Labels) -> Float[Tensor, "batch classes"]:
    """Return the least logit of each class, after each student's (expected) target logit is subtracted (Eq. 6-7)."""
    logits, q = _read(logits, labels)
    return (logits - (q * logits).sum(-1, keepdim=True)).amin(0)


def _read(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits if logits.dtype == torch.float64 else logits.float()
    soft = labels if labels.is_floating_point() else functional.one_hot(labels, logits.shape[-1])
    return logits, soft.to(logits.dtype)


@configurable
class KDCL(TargetWriter):
    """Imitate the label and the students' ensemble.

    Attributes:
        ensemble: which target is made of the students' logits; "general" needs `data.held_out`.
        weight: of the ensemble's term, beside the label's 1.
        temperature: softens both sides; the term is multiplied by its square.
        views: each student sees its "own" random view of an image, or all a "shared" one.
        per: whether "naive" and "linear" choose for each sample or for the batch.
        weights: of "general", on the simplex or by Eq. 11, whose weights may be negative.
        target_gradient: let gradient flow through the target into all students.
    """

    ensemble: Literal["naive", "linear", "minlogit", "general"] = "minlogit"
    weight: WeightOverTime = 1.0
    temperature: Positive = 2.0
    views: Literal["own", "shared"] = "own"
    per: Literal["sample", "batch"] = "sample"
    weights: Literal["simplex", "closed-form"] = "simplex"
    target_gradient: Flag = False

    def __post_init__(self) -> None:
        for name, usual, users in (("per", "sample", {"naive", "linear"}), ("weights", "simplex", {"general"})):
            if getattr(self, name) != usual and self.ensemble not in users:
                raise ValueError(f"{name} means nothing to the {self.ensemble} ensemble: leave it out")
        self._weigh = general_weights if self.weights == "simplex" else closed_form_weights
        self.needs = Needs(own_views=self.views == "own", held_out=self.ensemble == "general")
        # of each student in general's target; equal until the first epoch is over
        self.shares: list[float] = []

    def prepare(self, room: Room, cohort: Cohort) -> None:
        """Weigh all students alike."""
        self.shares, self._alone = [], room.students == 1

    def describe(self) -> str:
        """Say so where there is nobody to learn from."""
        return "warning: KDCL has one student, which has nobody to learn from: name others in peers" * self._alone

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and ensemble for every student; one that is alone has the label."""
        if len(step.students) == 1:
            return [[Target("label")]]
        logits = torch.stack([units.logits for units in step.students])
        q = self._ensemble(logits if self.target_gradient else logits.detach(), step.students[0])
        ensemble = at(self.weight, step.clock) * Target("ensemble", q, 1.0, self.temperature)
        return [[Target("label"), ensemble] for _ in step.students]

    def _ensemble(self, logits: Logits, units: Units) -> Float[Tensor, "batch classes"]:
        logits, labels = _read(logits, units.by_label(lambda y: functional.one_hot(y, logits.shape[-1]).float()))
        if self.ensemble == "general":
            shares = self.shares or [1 / len(logits)] * len(logits)
            pairs = zip(shares, (logits / self.temperature).softmax(-1), strict=True)
            return (mixed := torch.stack([w * p for w, p in pairs]).sum(0).clamp_min(0)) / mixed.sum(-1, keepdim=True)
        build = naive if self.ensemble == "naive" else linear
        chosen = minlogit(logits, labels) if self.ensemble == "minlogit" else build(logits, labels, self.per)
        return (chosen / self.temperature).softmax(-1)

    def examine(self, answers: Sequence[Units]) -> None:
        """Weigh the students anew by their errors on held-out examples; only "general" does."""
        if self.ensemble == "general":
            said = [(units.logits.cpu().double(), units.labels.cpu()) for units in answers]
            losses = torch.stack([functional.cross_entropy(*one, reduction="none") for one in said], 1)
            self.shares = self._weigh((-losses).expm1()).tolist()

    def figures(self) -> dict[str, float]:
        """Return each student's share of general's target, after the first epoch."""
        return {f"share/{i}": share for i, share in enumerate(self.shares)}

    def state_dict(self) -> dict[str, Any]:
        """Return the shares."""
        return {"shares": self.shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the shares."""
        self.shares = state["shares"]
