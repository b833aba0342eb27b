"""What happened: sums gathered on the device, one line an epoch in metrics.jsonl and TensorBoard.

Nothing here waits for the device during a step. Non-finite losses are noticed on the device and read back at the end
of the epoch or before a checkpoint, whichever is first, so that no checkpoint ever holds what came after one.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck import files
from limbeck.core.batch import Units
from limbeck.core.writer import Step
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.train.runtime import Runtime

NEVER = 2**62


class Sums:
    """Sums over the units of an epoch, kept on the device until `check` reads them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.units = 0
        self._totals: Tensor | None = None
        self._steps: list[int] = []
        self._rows: list[Tensor] = []

    def add(self, step: Step) -> None:
        """Take in the sums of one micro-batch; starts no transfer."""
        assert step.loss is not None
        told = [units for units in step.students if units.weight is not None or units.logits.shape[0]]
        wrong = [_wrong(units, step.batch.ids) for units in told]
        errors = {"error" if len(wrong) == 1 else f"error/{i}": count for i, count in enumerate(wrong)}
        found = {"loss": step.loss.detach(), **step.parts, **errors}
        self.names = list(found)
        self.units += step.units
        self._steps.append(step.clock.step)
        self._rows.append(torch.stack([value.float() for value in found.values()]))

    def check(self, runtime: Runtime) -> None:
        """Read the device, and raise on every process if a term became NaN or infinite on any. A collective.

        Raises:
            NonFiniteLossError: names the first step and its terms.
        """
        if not self._rows:
            return
        rows = torch.stack(self._rows).cpu().double()
        self._totals = rows.sum(0) if self._totals is None else self._totals + rows.sum(0)
        steps = torch.tensor(self._steps)[:, None]
        first_bad = torch.where(rows.isfinite(), NEVER, steps).amin(0)
        self._steps, self._rows = [], []
        bad = runtime.smallest(first_bad).tolist()
        first = min(bad)
        if first < NEVER:
            terms = [name for name, step in zip(self.names, bad, strict=True) if step == first and name != "loss"]
            raise NonFiniteLossError(
                f"the loss became NaN or infinite at step {first}, in the term {' and '.join(terms) or 'loss'}; "
                "lower the learning rate, add warm-up or clip the gradient; the last good checkpoint is kept"
            )

    def means(self, runtime: Runtime) -> dict[str, float]:
        """Return each sum over all processes, divided by the number of units; after `check`."""
        *sums, units = self._over_all(runtime).tolist()
        return {name: value / units for name, value in zip(self.names, sums, strict=True)}

    def state_dict(self, runtime: Runtime) -> dict[str, Any]:
        """Return the sums of a begun epoch over all processes, each of which must call this; after `check`."""
        return {} if self._totals is None else {"names": self.names, "sums": self._over_all(runtime)}

    def load_state_dict(self, state: dict[str, Any], runtime: Runtime) -> None:
        """Take up the sums of a begun epoch: the first process takes them, the others start at zero."""
        if state and runtime.first:
            self.names, self._totals, self.units = state["names"], state["sums"][:-1], int(state["sums"][-1])

    def _over_all(self, runtime: Runtime) -> Tensor:
        assert self._totals is not None
        return runtime.sum(torch.cat([self._totals, self._totals.new_tensor([self.units])]))


def _wrong(units: Units, ids: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return how many units are told wrong; where they are parts of examples, the sum of each example's share."""
    wrong = units.logits.argmax(1) != units.labels
    if units.weight is None:
        return wrong.sum(dtype=torch.float32)
    weight, mine = units.weight.float(), (units.ids[:, None] == ids).float()
    shares: Tensor = (weight * wrong) @ mine / (weight @ mine).clamp_min(torch.finfo(torch.float32).tiny)
    return shares.sum()


class Record:
    """The lines of metrics.jsonl and the TensorBoard events of a run; a context manager.

    Args:
        folder: the run's folder, or None to keep nothing.
        epoch: lines of later epochs are dropped: the run continues there.
    """

    def __init__(self, folder: Path | None, epoch: int) -> None:
        self.path = None if folder is None else folder / "metrics.jsonl"
        self.writer: Any = None
        if folder is None or self.path is None:
            return
        kept = [line for line in read(self.path) if line["epoch"] <= epoch]
        files.write(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard.writer import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=epoch + 1 if kept else None)

    def __enter__(self) -> Record:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Flush the events, and end the thread that writes them."""
        if self.writer is not None:
            self.writer.close()

    def write(self, epoch: int, values: dict[str, float]) -> None:
        """Append one epoch (counted from 1).

        Raises:
            LimbeckError: it cannot be written.
        """
        if self.path is None:
            return
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"epoch": epoch, **values}) + "\n")
        except OSError as error:
            raise LimbeckError(
                f"cannot write {self.path}: {error.strerror}; mend that, and the same command continues from the last "
                "checkpoint"
            ) from error
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl, up to the first that a kill or a disk has spoilt."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return lines
