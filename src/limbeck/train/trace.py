"""How the method rescales the gradient, fifth by fifth of the examples from easy to hard: logged once an epoch.

Nothing here waits for the device during a step: each example's numbers go into its row, by its id, and are read when
the epoch is over.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.analysis.rescaling import condition, gradient_norms, unlikelihood
from limbeck.core.writer import Step
from limbeck.errors import LimbeckError
from limbeck.train.runtime import Runtime

GROUPS = 5
# of a row: seen at all, p of the true class, both L1 norms, and of PS-KD 2 α γ_{t-1} and whether the formula holds
_COLUMNS = 6


class Trace:
    """The gradient's norms of every example in the epoch, in float32 rows by id on the device of the logits.

    Args:
        id_space: 1 + the largest example id.
        count: examples in an epoch, over all processes.
    """

    def __init__(self, id_space: int, count: int) -> None:
        self.id_space, self.count = id_space, count
        self._rows: Tensor | None = None
        self._has_formula = False

    def add(self, step: Step) -> None:
        """Take in one micro-batch, each example at the step at which it is seen; starts no transfer.

        Raises:
            LimbeckError: there are several students, or mixed images.
        """
        if len(step.students) > 1:
            raise LimbeckError("training.trace follows one student: set it to false where there are several")
        units, targets = step.students[0], step.lessons[0]
        if units.mix is not None:
            raise LimbeckError(
                "training.trace sorts images by the probability of their class, and mixed ones have two: "
                "set training.trace to false, or data.mix to null"
            )
        norms = gradient_norms(units.logits, units.labels, targets)
        row = [torch.ones_like(norms.p_true), norms.p_true, norms.method, norms.hard]
        by_name = {target.name: target for target in targets}
        past = by_name.get("past")
        # the formula is of PS-KD: the label and the past, and nothing else
        if past is not None and past.probabilities is not None and by_name.keys() == {"label", "past"}:
            self._has_formula = True
            row.append(2 * past.weight * unlikelihood(past.probabilities, units.labels))
            row.append(condition(units.logits, units.labels, past.probabilities, past.weight))
        else:
            row += [torch.zeros_like(norms.p_true)] * 2
        if self._rows is None:
            self._rows = torch.zeros(self.id_space, _COLUMNS, device=units.logits.device)
        self._rows.index_copy_(0, units.ids, torch.stack([column.float() for column in row], 1))

    def means(self, runtime: Runtime) -> dict[str, float]:
        """Return the epoch's values by group, 1 the easiest, and forget the epoch. A collective.

        A group's ratio is the L1 norm of all its gradients by the method, divided by that of the hard labels'; the
        formula is taken of its mean γ. An epoch that was not traced as a whole, since the trace was switched on within
        it, has no values.
        """
        rows = self._over_all(runtime).double().cpu()
        self._rows = None
        seen = rows[rows[:, 0] > 0]
        if len(seen) < self.count:
            return {}
        easy_first = seen[seen[:, 1].argsort(descending=True, stable=True)]
        values: dict[str, float] = {}
        for i, group in enumerate(easy_first.tensor_split(GROUPS), 1):
            if not len(group):
                continue
            _, p_true, method, hard, past, holds = group.sum(0).tolist()
            values[f"rescaling/{i}/p_true"] = p_true / len(group)
            if hard > 0:
                values[f"rescaling/{i}/ratio"] = method / hard
            if self._has_formula and hard > 0:
                values[f"rescaling/{i}/formula"] = 1 - past / hard
                values[f"rescaling/{i}/holds"] = holds / len(group)
        return values

    def state_dict(self, runtime: Runtime) -> dict[str, Any]:
        """Return the rows of a begun epoch over all processes, each of which must call this."""
        if self._rows is None:
            return {}
        return {"rows": self._over_all(runtime), "has_formula": self._has_formula}

    def load_state_dict(self, state: dict[str, Any], runtime: Runtime) -> None:
        """Take up the rows of a begun epoch: the first process takes them, the others start at zero."""
        if not state:
            return
        rows = state["rows"]
        self._has_formula = state["has_formula"]
        self._rows = (rows.clone() if runtime.first else torch.zeros_like(rows)).to(runtime.device)

    def _over_all(self, runtime: Runtime) -> Tensor:
        """Return the rows of all processes, each of which has other examples."""
        rows = self._rows
        if rows is None:
            rows = torch.zeros(self.id_space, _COLUMNS, device=runtime.device)
        return runtime.sum(rows)
