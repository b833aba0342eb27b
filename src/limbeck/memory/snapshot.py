"""The students as they were at the end of the last epoch, kept as networks instead of as predictions.

State memory: the students' weights and buffers once more, whatever the number of examples and classes; in time, one
more forward a step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from limbeck.core.batch import Batch, Output
from limbeck.core.cohort import Cohort
from limbeck.core.writer import Step
from limbeck.memory.predictions import one_hot
from limbeck.memory.processes import world


class Snapshot:
    """A frozen copy of the students, in eval mode; there is none before the first epoch ends.

    Args:
        cohort: the students that are trained.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._copy: Cohort | None = None
        self._said: tuple[Batch, list[Output]] | None = None

    @torch.no_grad()
    def past(self, step: Step) -> list[Float[Tensor, "units classes"]]:
        """Return what each student's copy says of this step's views, mixed ones too; the label in the first epoch."""
        if self._copy is None:
            return [units.by_label(partial(one_hot, like=units.logits.detach().float())) for units in step.students]
        # asked once, however many chunks its answer is read in
        if self._said is None or self._said[0] is not step.batch:
            self._said = step.batch, self._copy(step.batch.views, like=step.outputs)
        return [output.logits[step.rows].float().softmax(-1) for output in self._said[1]]

    def after(self, step: Step) -> None:
        """Remember nothing of a step."""
        self._said = None

    def after_epoch(self, cohort: Cohort) -> None:
        """Copy the students; batch statistics, which are per process, from the first one. A collective."""
        self._take(cohort.state_dict())

    def describe(self) -> str:
        """Say that one more network is kept."""
        return "past predictions by a copy of the network as it was an epoch ago: one more forward a step"

    def state_dict(self) -> dict[str, Any]:
        """Return the copy's weights, if there is one."""
        return {} if self._copy is None else {"snapshot": self._copy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the copy's weights."""
        self._copy = None
        if state:
            self._take(state["snapshot"])

    def _take(self, weights: Mapping[str, Any]) -> None:
        self._said = None
        if self._copy is None:
            self._copy = copy.deepcopy(self._cohort).requires_grad_(False).eval()
            for weight in self._copy.parameters():
                weight.grad = None
        self._copy.load_state_dict(dict(weights))
        if world() > 1:
            for buffer in self._copy.buffers():
                distributed.broadcast(buffer, 0)
