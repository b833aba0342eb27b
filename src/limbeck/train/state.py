"""Everything that moves while training, in one place, so that a checkpoint is complete by construction."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from limbeck.core.cohort import Cohort
from limbeck.core.objective import Objective
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.train.record import Sums
from limbeck.train.runtime import Runtime
from limbeck.train.trace import Trace


class Averaged:
    """A running average of a cohort's weights and batch statistics, weight by weight.

    `torch.optim.swa_utils.AveragedModel` would average the counters of batch normalisation as well, to wrong integers.

    Args:
        cohort: the networks that are trained; the average starts from them.
        decay: what is kept of the average at each step.
    """

    def __init__(self, cohort: Cohort, decay: float) -> None:
        self.cohort = copy.deepcopy(cohort).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, cohort: Cohort) -> None:
        """Move towards the networks as they are now."""
        pairs = list(zip(self.cohort.state_dict().values(), cohort.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in floats], [now for _, now in floats], 1 - self.decay)
        for mean, now in pairs:
            if not mean.is_floating_point():
                mean.copy_(now)


class State:
    """Everything that moves while training, with the place where training stands.

    Args:
        objective: what is trained.
        optimiser: by what.
        runtime: devices and processes.
        ema: decay of the averaged weights, or None.
        trace: what is logged of each example, or None.
        shards: sizes of the shards in which examples stay.
    """

    def __init__(
        self,
        objective: Objective,
        optimiser: Optimizer,
        runtime: Runtime,
        ema: float | None,
        trace: Trace | None = None,
        shards: Sequence[int] = (),
    ) -> None:
        self.objective, self.optimiser, self.runtime = objective, optimiser, runtime
        self.averaged = None if ema is None else Averaged(objective.cohort, ema)
        self.epoch = self.batch = self.step = 0
        self.reached = False
        self.sums = Sums()
        self.trace = trace
        self.shards = list(shards)
        self.best: list[dict[str, Any]] = []

    @property
    def cohort(self) -> Cohort:
        """The networks to evaluate and export: averaged where averaging is on."""
        return self.objective.cohort if self.averaged is None else self.averaged.cohort

    def check(self) -> None:
        """Raise, on every process, if a loss term or a weight became NaN or infinite; reads the device.

        Weights are those of the students and of what matchers train.

        Raises:
            NonFiniteLossError: names the step and the term, or the weight.
        """
        self.sums.check(self.runtime)
        found = self.cohort.state_dict()
        if self.objective.comparison is not None:
            found |= self.objective.comparison.matchers.state_dict(prefix="matchers.")
        weights = {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}
        finite = torch.stack([tensor.isfinite().all() for tensor in weights.values()]).to(torch.uint8)
        for name, sound in zip(weights, self.runtime.smallest(finite).tolist(), strict=True):
            if not sound:
                raise NonFiniteLossError(
                    f"the weight {name} is NaN or infinite after step {self.step}; lower the learning rate, add "
                    "warm-up or clip the gradient; the last good checkpoint is kept"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return all of it; every process calls this."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "reached": self.reached,
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.cohort.state_dict(),
            "runtime": self.runtime.state_dict(),
            "sums": self.sums.state_dict(self.runtime),
            "trace": {} if self.trace is None else self.trace.state_dict(self.runtime),
            "best": self.best,
            "shards": self.shards,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state_dict` stood.

        Raises:
            LimbeckError: examples would have to move to other processes than they are to stay on.
        """
        before, now = state["shards"], self.shards
        if before != now and max(len(before), len(now)) > 1:
            raise LimbeckError(
                f"this run's examples stay in {len(before)} shard(s), and with the processes and nodes here there "
                f"would be {len(now)}: go on with as many as before, or start in a new folder"
            )
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.reached = state["reached"]
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.averaged is not None:
            self.averaged.cohort.load_state_dict(state["averaged"])
        self.runtime.load_state_dict(state["runtime"])
        self.sums.load_state_dict(state["sums"], self.runtime)
        if self.trace is not None:
            self.trace.load_state_dict(state.get("trace", {}), self.runtime)
        self.best = state["best"]

    def keep_best(self, validation: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Keep each student's weights where its first score (then the next) is the lowest yet; return all by name."""
        scores: dict[str, float] = {}
        for i, found in enumerate(validation):
            name = "validation" if len(validation) == 1 else f"validation/{i}"
            scores |= {f"{name}/{key}": value for key, value in found.items()}
            if len(self.best) <= i:
                self.best.append(dict.fromkeys(found, float("inf")))
            if tuple(found.values()) < tuple(self.best[i][key] for key in found):
                weights = self.cohort.alone(i).state_dict().items()
                kept = {key: value.detach().cpu().clone() for key, value in weights}
                self.best[i] = {**found, "epoch": self.epoch, "weights": kept}
        return scores
