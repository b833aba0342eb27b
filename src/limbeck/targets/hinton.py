"""KD: the label and a frozen teacher's softened prediction (Hinton, Vinyals & Dean, 2015).

Equation
    L = (1 - α) H(y, p) + α m r T² H(q, p_T),   q = softmax(z_teacher / T),  p_T = softmax(z / T)
    after `stop`:  L = H(y, p)  ("whole"),  or  L = (1 - α) H(y, p)  ("rest")

| symbol | here |
|---|---|
| α | `alpha`, a number or a schedule |
| T | `temperature` |
| z_teacher | logits of the frozen teacher, in eval mode, on the same view as the student's |
| r | `reduction`: 1 for "batchmean", 1 / K for "mean" |
| m | `multiplier` of the teacher's term |
| "whole", "rest" | `label_after` |

Fidelity
    Cross-entropy to the teacher instead of KL: they differ by the teacher's entropy, which has no gradient; the log
    shows KL. The mean is over examples. `torch.nn.KLDivLoss()` averages over the K classes as well, so code that uses
    its default (Tf-KD's, TAKD's) has a teacher term K times smaller: to run its α, ask for the reduction "mean". When α
    follows a schedule, the label always has the rest, 1 - α. Re-KD (a smaller network teaches) and De-KD (a poorly
    trained one teaches) of Tf-KD's paper are this with other teachers: `teacher.relation`, `training.stop_epoch`.
    `stop` is early-stopped distillation (ESKD, ICCV 2019): the paper's text could not be read, and neither the epoch
    nor the label's weight afterwards is known from it. A public module trains on with weight 1, as "whole" does; "rest"
    leaves the label its weight, and at α = 0.9 the gradient shrinks tenfold. The teacher still answers after the stop,
    so that the log shows how far the student goes from it.

Limits
    α = 0 is cross-entropy. `stop` after the last epoch and `Until(α, epochs)` are KD itself, `stop` after none is
    cross-entropy. At T = 1 it is cross-entropy to (1 - α) y + α q.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from limbeck.core.batch import Clock
from limbeck.core.cohort import Cohort
from limbeck.core.config import Named, Positive, configurable
from limbeck.core.imitation import Target
from limbeck.core.schedules import FractionOverTime, at
from limbeck.core.stopping import STOPS, Past, StopRule
from limbeck.core.writer import Needs, Room, Step, TargetWriter


@configurable
class Hinton(TargetWriter):
    """Imitate the label and a teacher.

    Attributes:
        alpha: the teacher's share, in [0, 1]; the label has the rest.
        temperature: softens both sides; the term is multiplied by its square.
        reduction: of the teacher's term over the classes, in the words of `torch.nn.KLDivLoss`.
        multiplier: of the teacher's term.
        stop: ends the teacher's term, after an `epoch`, or when the validation error has not fallen for so many epochs
            (`patience`), of each student by itself; null never does.
        label_after: what the label weighs once the teacher's term has ended: the "whole", 1, or the "rest", 1 - alpha.
    """

    alpha: FractionOverTime = 0.9
    temperature: Positive = 4.0
    reduction: Literal["batchmean", "mean"] = "batchmean"
    multiplier: Positive = 1.0
    stop: Annotated[StopRule, Named(STOPS)] | None = None
    label_after: Literal["whole", "rest"] = "whole"

    needs = Needs(teacher=True)

    def __post_init__(self) -> None:
        if self.stop is None and self.label_after != "whole":
            raise ValueError("label_after says what the label weighs after stop: set stop, or leave it out")
        self.needs = Needs(teacher=True, validation=self.stop is not None and self.stop.validated)
        self._past: list[Past] = []

    def check_epochs(self, epochs: int) -> None:
        """Refuse a stop that comes too late."""
        if self.stop is not None:
            self.stop.check(epochs)

    def prepare(self, room: Room, cohort: Cohort) -> None:
        """Forget what the validation split has said."""
        self._past = [Past()] * room.students if self.needs.validation else []

    def write(self, step: Step) -> list[list[Target]]:
        """Return label and teacher for every student."""
        assert step.teacher is not None
        alpha = at(self.alpha, step.clock)
        weight = alpha * self.multiplier
        if self.reduction == "mean":
            weight /= step.students[0].logits.shape[1]
        lessons = []
        for i, units in enumerate(step.teacher):
            over = self.stop is not None and self.stop.over(step.clock, self._seen(i))
            q = (units.logits.float() / self.temperature).softmax(-1)
            label = 1.0 if over and self.label_after == "whole" else 1 - alpha
            taught = Target("teacher", q, 0.0 if over else weight, self.temperature)
            lessons.append([label * Target("label"), taught])
        return lessons

    def validated(self, errors: Sequence[float]) -> None:
        """Remember the errors, for a stop that waits for them."""
        if self.stop is not None and self.needs.validation:
            self._past = [self.stop.note(self._seen(i), error) for i, error in enumerate(errors)]

    def figures(self) -> dict[str, float]:
        """Return whether an epoch had the teacher's term (1) or not (0), where the validation split decides it."""
        if self.stop is None:
            return {}
        on = [float(not self.stop.over(Clock(0, 1), past)) for past in self._past]
        return {"distilling" if len(on) == 1 else f"distilling/{i}": value for i, value in enumerate(on)}

    def state_dict(self) -> dict[str, Any]:
        """Return what the validation split has said."""
        return {"past": [list(past) for past in self._past]} if self._past else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what it had said."""
        self._past = [Past(*past) for past in state.get("past", [])]

    def _seen(self, student: int) -> Past:
        return self._past[student] if student < len(self._past) else Past()
