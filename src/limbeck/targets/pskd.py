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
    older row stays. `dtype`, `top_k`, `window`, `weights`, `average` and `memory: model` are ours. With the last, which
    is what the equation literally says, P_{t-1}(x) is said now, by a copy of the network as it was at the end of the
    last epoch, in eval mode, of the view that the student sees (a mixed one, too), at the cost of one more forward.

Limits
    α = 0 is cross-entropy, and so is the first epoch at any α. The bank's home changes no bit; `average` 0 and `window`
    1 are PS-KD itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from limbeck.core.cohort import Cohort
from limbeck.core.config import Count, Fraction, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import Linear, at
from limbeck.core.writer import Needs, Room, Step, TargetWriter
from limbeck.errors import LimbeckError
from limbeck.memory.formats import format_of
from limbeck.memory.predictions import Memory, Predictions
from limbeck.memory.snapshot import Snapshot


@configurable
class PSKD(TargetWriter):
    """Imitate the label and, more and more, one's own past.

    Attributes:
        alpha: the share of the past prediction in the last epoch, in [0, 1]; it grows linearly.
        memory: what is kept of the past, the "predictions" themselves or the "model" that makes them; all fields below
            are of "predictions".
        bank: where they live: on the training "device", in "ram" or on the "disk", in the run's folder; the result is
            the same. `limbeck plan-memory` says what each takes.
        dtype: of what is kept; "float16" halves it.
        top_k: keep only the so many largest probabilities of each; the rest is spread evenly. None keeps all.
        window: how many past epochs are averaged.
        weights: of these epochs, the last one first; equal without them.
        average: what is kept is the exponential average of the predictions, with this share of the past; 0 keeps the
            last one.
    """

    alpha: Fraction = 0.8
    memory: Literal["predictions", "model"] = "predictions"
    bank: Literal["device", "ram", "disk"] = "device"
    dtype: Literal["float32", "float16"] = "float32"
    top_k: Count | None = None
    window: Count = 1
    weights: tuple[Positive, ...] | None = None
    average: Fraction = 0.0

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != self.window:
            raise ValueError(f"a window of {self.window} epochs needs as many weights, and has {len(self.weights)}")
        if self.memory == "model":
            fields = [field for field in dataclasses.fields(self) if field.name not in {"alpha", "memory"}]
            if changed := [field.name for field in fields if getattr(self, field.name) != field.default]:
                raise ValueError(f"memory: model keeps no predictions, so {changed[0]} means nothing: leave it out")
        self.needs = Needs(ids=self.memory == "predictions")
        self._memory: Memory | None = None

    def check(self, classes: int) -> None:
        """Refuse a top_k that is not below the number of classes."""
        format_of(self.dtype, self.top_k).columns(classes)

    def prepare(self, room: Room, cohort: Cohort) -> None:
        """Forget everything, and expect ids below `room.examples`."""
        if self.memory == "model":
            self._memory = Snapshot(cohort)
            return
        kind = format_of(self.dtype, self.top_k)
        self._memory = Predictions(room, self.bank, kind, self.window, self.weights, self.average)

    def describe(self) -> str:
        """Say what the past takes."""
        return self._past.describe()

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and past prediction for every student."""
        alpha = at(Linear(self.alpha), step.clock)
        return [[(1 - alpha) * Target("label"), alpha * Target("past", past)] for past in self._past.past(step)]

    def after(self, step: Step) -> None:
        """Record what each student said in this step's forward."""
        self._past.after(step)

    def after_epoch(self, cohort: Cohort) -> None:
        """Make what was recorded the past."""
        self._past.after_epoch(cohort)

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        return self._past.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what was remembered."""
        self._past.load_state_dict(state)

    @property
    def _past(self) -> Memory:
        if self._memory is None:
            raise LimbeckError("PSKD was not told how many examples there are: give `examples` to the Objective")
        return self._memory
