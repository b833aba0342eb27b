"""Who is trained: the networks that learn together. One student is a cohort of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from limbeck.core.batch import Output, View
from limbeck.errors import LimbeckError


@runtime_checkable
class Chooser(Protocol):
    """A network that chooses what it answers of, such as boxes in a picture, by chance or by what it sees.

    Answers can be compared where another network answers of the same: its forward takes, beside a view, the output
    whose choice it is to follow, and then needs no labels.
    """

    chooses: bool


def answer(network: nn.Module, view: View, like: Output | None = None) -> Output:
    """Ask a network.

    Args:
        network: returns logits or an `Output`.
        view: what it reads.
        like: whose choice it follows, where networks choose what they answer of; others take no notice.
    """
    found = network(view, like) if like is not None and isinstance(network, Chooser) else network(view)
    return found if isinstance(found, Output) else Output(found)


class Cohort(nn.Module, ABC):
    """The trained networks, run together: one forward a step, one output for each name."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each output is called: files and results bear these names."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The networks that share no weight: each is compiled and clipped by itself, and may have its own optimiser."""

    @abstractmethod
    def forward(self, views: Sequence[View], learner: int | None = None, like: Sequence[Output] = ()) -> list[Output]:
        """Return one output per name, from one shared view or from one view each.

        Args:
            views: of images each [B, C, H, W].
            learner: the only output that carries a gradient, and whose network may change its batch statistics; None
                where all do.
            like: for each output, another one whose choice it follows, where networks choose what they answer of;
                without, those of a shared view follow the first one's in training.
        """

    @abstractmethod
    def alone(self, index: int) -> nn.Module:
        """Return the network that gives one of the outputs by itself, with the weights that are trained here."""


class Peers(Cohort):
    """Independent networks, each of which can be deployed alone.

    Attributes:
        students: the networks; each maps a view [B, C, H, W] to logits [B, K], or to an `Output`.
    """

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__()
        if not students:
            raise LimbeckError("a cohort needs at least one student")
        self.students = nn.ModuleList(students)

    @property
    def names(self) -> tuple[str, ...]:
        """The only one is "student"; several are "student-0", "student-1" and so on."""
        count = len(self.students)
        return ("student",) if count == 1 else tuple(f"student-{i}" for i in range(count))

    @property
    def parts(self) -> Sequence[nn.Module]:
        """The students."""
        return list(self.students)

    def forward(self, views: Sequence[View], learner: int | None = None, like: Sequence[Output] = ()) -> list[Output]:
        """Run every student on its own view, or all on the one there is."""
        if len(views) not in {1, len(self.students)}:
            raise LimbeckError(f"{len(self.students)} students need 1 or {len(self.students)} views, not {len(views)}")
        own = views if len(views) == len(self.students) else [views[0]] * len(self.students)
        outputs: list[Output] = []
        # where nothing is learned, nothing is chosen that others could follow
        follows = self.training and len(views) == 1
        for i, (student, view) in enumerate(zip(self.students, own, strict=True)):
            leader = like[i] if like else outputs[0] if follows and outputs else None
            with nullcontext() if learner in {None, i} else unmoved(student):
                outputs.append(answer(student, view, leader))
        return outputs

    def alone(self, index: int) -> nn.Module:
        """Return a student."""
        return self.students[index]


@contextmanager
def unmoved(module: nn.Module) -> Iterator[None]:
    """Let a module answer as it does in training, and leave no trace in it: neither gradient nor statistics."""
    kept = [buffer.clone() for buffer in module.buffers()]
    with torch.no_grad():
        yield
        for buffer, value in zip(module.buffers(), kept, strict=True):
            buffer.copy_(value)
