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
from torch import Tensor

from limbeck import files
from limbeck.core.objective import Step
from limbeck.errors import NonFiniteLossError
from limbeck.train.runtime import Runtime

NEVER = 2**62


class Sums:
    """Running sums of an epoch, on the device, with the first step at which each became non-finite."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: Tensor | None = None
        self.first_bad: Tensor | None = None

    def add(self, step: Step) -> None:
        """Take in the sums of one micro-batch; starts no transfer."""
        assert step.loss is not None
        wrong = [(units.logits.argmax(1) != units.labels).sum() for units in step.students]
        errors = {"error" if len(wrong) == 1 else f"error/{i}": count for i, count in enumerate(wrong)}
        found = {"loss": step.loss.detach(), **step.parts, **errors}
        now = torch.stack([*(value.float() for value in found.values()), step.loss.new_tensor(float(step.units))])
        if self.values is None or self.first_bad is None:
            self.names = [*found, "count"]
            self.values = torch.zeros_like(now, dtype=torch.float64)
            self.first_bad = torch.full_like(now, NEVER, dtype=torch.int64)
        self.values = self.values.to(now.device) + now
        bad = torch.where(now.isfinite(), NEVER, step.clock.step)
        self.first_bad = torch.minimum(self.first_bad.to(now.device), bad)

    def check(self) -> None:
        """Raise if any term became NaN or infinite; this reads the device.

        Raises:
            NonFiniteLossError: names the first step and its terms.
        """
        if self.first_bad is None:
            return
        steps = self.first_bad.tolist()
        first = min(steps)
        if first < NEVER:
            terms = [name for name, step in zip(self.names, steps, strict=True) if step == first and name != "loss"]
            raise NonFiniteLossError(
                f"the loss became NaN or infinite at step {first}, in the term {' and '.join(terms) or 'loss'}; "
                "lower the learning rate, add warm-up or clip the gradient; the last good checkpoint is kept"
            )

    def means(self, runtime: Runtime) -> dict[str, float]:
        """Return each sum over all processes, divided by the number of units."""
        assert self.values is not None
        *sums, count = runtime.sum(self.values.clone()).tolist()
        return {name: value / count for name, value in zip(self.names, sums, strict=False)}

    def state_dict(self, runtime: Runtime) -> dict[str, Any]:
        """Return the sums of a begun epoch over all processes, each of which must call this."""
        values = None if self.values is None else runtime.sum(self.values.clone())
        return {"names": self.names, "values": values, "first_bad": self.first_bad}

    def load_state_dict(self, state: dict[str, Any], runtime: Runtime) -> None:
        """Take up the sums of a begun epoch: the first process takes them, the others start at zero."""
        self.names, self.first_bad = state["names"], state["first_bad"]
        values = state["values"]
        self.values = values if values is None or runtime.first else torch.zeros_like(values)


class Record:
    """The lines of metrics.jsonl and the TensorBoard events of a run; only the first process writes.

    Args:
        folder: the run's folder, or None to keep nothing.
        epoch: lines of this epoch and later are dropped: the run continues there.
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

    def write(self, epoch: int, values: dict[str, float]) -> None:
        """Append one epoch (counted from 1)."""
        if self.path is None:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"epoch": epoch, **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)

    def close(self) -> None:
        """Flush the events."""
        if self.writer is not None:
            self.writer.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl; a last line cut short by a kill is passed over."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
