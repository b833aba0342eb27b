"""Devices, precision and processes: everything that Lightning Fabric does for us, behind one small class."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from limbeck.core.shard import Shuffle
from limbeck.errors import LimbeckError

# of malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class Runtime:
    """Where training runs. Under torchrun or SLURM, or with `devices` > 1, every process builds one.

    Args:
        accelerator: "auto", "cpu", "cuda" or "mps".
        devices: processes on this machine; None takes what the launcher says, else one.
        nodes: machines; None takes what the launcher says, else one.
        precision: of the forward and backward pass.

    Raises:
        LimbeckError: the accelerator is not there, or cannot compute in that precision.
    """

    def __init__(
        self,
        accelerator: str = "auto",
        devices: int | None = None,
        nodes: int | None = None,
        precision: Precision = "32-true",
    ) -> None:
        on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
        if on_cpu and precision == "16-mixed":
            raise LimbeckError("16-mixed needs a GPU: set training.precision to bf16-mixed or 32-true on a CPU")
        if accelerator == "cuda" and not torch.cuda.is_available():
            raise LimbeckError("there is no CUDA GPU here: use --accelerator cpu, or auto")
        local = devices or _told("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE")
        machines = nodes or _told("GROUP_WORLD_SIZE", "SLURM_NNODES")
        strategy = "ddp" if local * machines > 1 else "auto"
        try:
            mixed = (
                None if precision == "32-true" else _Autocast(precision, "cpu" if on_cpu else _accelerator(accelerator))
            )
            self.fabric = Fabric(
                accelerator=accelerator, devices=local, num_nodes=machines, strategy=strategy, plugins=mixed
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise LimbeckError(f"cannot run on {local} × {accelerator} in {precision}: {reason}") from error
        self.fabric.launch()
        if self.fabric.world_size > 1:
            atexit.register(_leave)
        if self.device.type == "cpu":
            _keep_freed_memory()

    @property
    def device(self) -> torch.device:
        """This process's device."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """This process among all."""
        return self.fabric.global_rank

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def setup(self, model: nn.Module, optimiser: Optimizer, turns: bool = False) -> tuple[Any, Any]:
        """Return the model and the optimiser, wrapped for the devices.

        Args:
            model: the objective.
            optimiser: over its parameters.
            turns: whether a backward pass may reach only some of them.
        """
        if self.world > 1:
            # known only now, and Fabric asks for it when it is made
            self.fabric.strategy._ddp_kwargs["find_unused_parameters"] = turns  # type: ignore[attr-defined]
        wrapped = self.fabric.setup_module(model)
        return wrapped, self.fabric.setup_optimizers(optimiser)

    def accumulating(self, model: Any, enabled: bool) -> AbstractContextManager[None]:
        """Keep gradients on this process while more micro-batches follow."""
        if not enabled or self.world == 1:
            return contextlib.nullcontext()
        return self.fabric.no_backward_sync(model, enabled=True)

    def backward(self, loss: Tensor) -> None:
        """Compute gradients; over several processes they are averaged."""
        self.fabric.backward(loss)

    def clip(self, optimiser: Optimizer, students: Iterable[nn.Module], norm: float) -> None:
        """Limit the norm of each student's gradient: per student, not over all, so that peers stay independent."""
        self.fabric.strategy.precision.unscale_gradients(getattr(optimiser, "optimizer", optimiser))
        for student in students:
            nn.utils.clip_grad_norm_(student.parameters(), norm)

    def sum(self, values: Tensor) -> Tensor:
        """Return a small tensor, added up over the processes."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def smallest(self, values: Tensor) -> Tensor:
        """Return the smallest of each value over the processes."""
        return self._reduced(values, distributed.ReduceOp.MIN)

    def _reduced(self, values: Tensor, how: Any) -> Tensor:
        if self.world == 1:
            return values
        moved = values.to(self.device, copy=True)
        distributed.all_reduce(moved, how)
        return moved.to(values.device)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, in the order of ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def shards(self, shuffle: Shuffle) -> tuple[int, ...]:
        """Return for each process the shard of its examples; nothing where they come from all. A collective."""
        if shuffle == "node":
            return tuple(self.gather(self.fabric.node_rank))
        return tuple(range(self.world)) if shuffle == "process" else ()

    def barrier(self) -> None:
        """Wait for all."""
        self.fabric.barrier()

    def seed(self, *numbers: int) -> None:
        """Make the draws that follow (dropout) a function of these numbers and this process alone."""
        mixed = 0
        for number in (*numbers, self.rank):
            mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
        # torch.manual_seed asks every kind of device in turn, which takes a good part of a small step
        torch.default_generator.manual_seed(mixed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(mixed)

    def begin(self) -> None:
        """Forget what an earlier run in this process taught the float16 loss scaler."""
        precision = self.fabric.strategy.precision
        if isinstance(precision, MixedPrecision) and precision.scaler is not None:
            precision.scaler = torch.amp.GradScaler(self.device.type)

    def state_dict(self) -> dict[str, Any]:
        """Return the loss scaler's state under float16, else nothing."""
        return dict(self.fabric.strategy.precision.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the loss scaler's state."""
        self.fabric.strategy.precision.load_state_dict(state)


class _Autocast(MixedPrecision):
    """Mixed precision by autocast alone: Fabric would also round every float of a batch, the mixing weights too."""

    def convert_input(self, data: Any) -> Any:
        return data

    def convert_output(self, data: Any) -> Any:
        return data


def _accelerator(name: str) -> str:
    """Return the kind of device that "auto" stands for."""
    found = torch.accelerator.current_accelerator()
    return found.type if name == "auto" and found is not None else name


def _told(*names: str) -> int:
    """Return what the launcher says in the first of these variables that is set, else 1."""
    return int(next((os.environ[name] for name in names if name in os.environ), "1"))


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one.

    By its defaults large tensors go back to the kernel and are faulted in again, page by page, at every step, which can
    cost more than a tenth of it. The peak stays what it is. Other C libraries have no `mallopt` and need none of this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _leave() -> None:
    """End the process group: its threads may not outlive the interpreter, which aborts then, now and again."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
