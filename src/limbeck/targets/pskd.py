"""PS-KD: the label and the network's own prediction of the last epoch (Kim et al., ICCV 2021).

Equation
    L_t = H((1 - α_t) y + α_t P_{t-1}(x), P_t(x)),   α_t = α_T · t / T

| symbol | here |
|---|---|
| α_T | `alpha`, reached in the last epoch (0.8 on CIFAR-100 in the authors' code) |
| t, T | epoch counted from 1, epochs in all |
| P_{t-1}(x) | the row of x in the prediction bank, written when x was last seen |

Fidelity
    As in the authors' code: the row is the softmax, at temperature 1, of the **training** forward of the last epoch
    (train mode, that epoch's view, the weights of that moment), kept without gradient, and no extra forward is made;
    the first epoch is plain cross-entropy, since nothing is remembered yet; α_t is constant within an epoch. Resuming
    restores the rows. Differences: processes share their rows once an epoch, not at every step. Under CutMix and Mixup,
    which the authors' code does not cover: the rows of both images are mixed as their labels are, and what the network
    says of a mixed image is recorded for an example only where at least half of the image is its own; elsewhere the
    older row stays.

Limits
    α = 0 is cross-entropy, and so is the first epoch at any α.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Units
from limbeck.core.config import Fraction, configurable
from limbeck.core.imitation import Target
from limbeck.core.objective import Needs, Step, TargetWriter
from limbeck.core.schedules import Linear, at
from limbeck.errors import LimbeckError
from limbeck.memory.bank import PredictionBank


@configurable
class PSKD(TargetWriter):
    """Imitate the label and, more and more, one's own past.

    Attributes:
        alpha: the share of the past prediction in the last epoch, in [0, 1]; it grows linearly.
        bank: where the past predictions live: on the training "device" (2 × examples × classes × 4 bytes of it), or in
            "ram".
    """

    alpha: Fraction = 0.8
    bank: Literal["device", "ram"] = "device"

    needs = Needs(ids=True)

    def __post_init__(self) -> None:
        self._banks: list[PredictionBank] = []
        self._examples = 0

    def prepare(self, examples: int) -> None:
        """Forget everything, and expect ids below `examples`."""
        self._banks, self._examples = [], examples

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and past prediction for every student."""
        alpha = at(Linear(self.alpha), step.clock)
        return [
            [(1 - alpha) * Target("label"), alpha * Target("past", self._past(units, bank))]
            for units, bank in zip(step.students, self._homes(len(step.students)), strict=True)
        ]

    def after(self, step: Step) -> None:
        """Record what each student said in this step's forward."""
        for units, bank in zip(step.students, self._homes(len(step.students)), strict=True):
            said = units.logits.detach().float().softmax(-1)
            if units.mix is not None:
                mostly_own = units.mix.weight[:, None] >= 0.5
                said = torch.where(mostly_own, said, bank.recall(units.ids, _one_hot(units.labels, said)))
            bank.record(units.ids, said)

    def after_epoch(self) -> None:
        """Share the rows among the processes."""
        for bank in self._banks:
            bank.turn()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of each student."""
        return {"banks": [bank.state_dict() for bank in self._banks]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the rows of each student."""
        for bank, rows in zip(self._homes(len(state["banks"])), state["banks"], strict=True):
            bank.load_state_dict(rows)

    def _homes(self, students: int) -> list[PredictionBank]:
        if not self._examples:
            raise LimbeckError("PSKD was not told how many examples there are: give `examples` to the Objective")
        if not self._banks:
            self._banks = [PredictionBank(self._examples, self.bank) for _ in range(students)]
        return self._banks

    def _past(self, units: Units, bank: PredictionBank) -> Float[Tensor, "units classes"]:
        """Return the rows of these examples, the label where there is none yet; mixed as the labels are mixed."""
        like = units.logits.detach().float()
        own = bank.recall(units.ids, _one_hot(units.labels, like))
        if units.mix is None:
            return own
        partner = bank.recall(units.mix.ids, _one_hot(units.mix.labels, like))
        return torch.lerp(partner, own, units.mix.weight.to(own.dtype)[:, None])


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    return functional.one_hot(labels, like.shape[1]).to(like.dtype)
