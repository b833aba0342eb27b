"""What stands around the objective: the roles that other folders fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from limbeck.core.batch import Batch, Clock, Output, Units, View


@runtime_checkable
class Stateful(Protocol):
    """Anything that changes while training: in every checkpoint, by these two methods."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values; under several processes every process calls it."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state where `state_dict` left it."""
        ...


@runtime_checkable
class Teacher(Protocol):
    """What answers beside the students and is never trained, saved or switched to training mode with them."""

    def __call__(self, view: View, like: Output | None = None) -> Output:
        """Return the teacher's output on a view, without gradient.

        Args:
            view: what the student reads.
            like: the student's output, where networks choose what they answer of: the teacher follows it.
        """
        ...


@runtime_checkable
class RecordedTeacher(Teacher, Protocol):
    """A teacher whose answers are kept from one use of a view to the next."""

    @property
    def complete(self) -> bool:
        """Whether all answers are kept, so that the network behind them is never asked."""
        ...

    def on(self, batch: Batch, number: int, clock: Clock) -> Output:
        """Return the teacher's output on view `number` of a batch, without gradient."""
        ...

    def after_epoch(self) -> None:
        """Make what an epoch has recorded durable; called by every process."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is classified: turns a network's output into units (an image each, a token each)."""

    @property
    def chunk(self) -> int | None:
        """At most so many units have their targets at a time, where classes are many; None takes all together."""
        ...

    def units(self, output: Output, batch: Batch) -> Units:
        """Return logits [U, K] with their labels and ids."""
        ...

    def extra(self, output: Output, batch: Batch) -> Mapping[str, Tensor]:
        """Return what a network also pays for, which no method distils, by name: sums over the units, with gradient."""
        ...
