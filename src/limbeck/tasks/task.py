"""What a run needs to know of its task: the interface between the loop and what is learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.core.batch import Batch, Output, Units, View
from limbeck.core.cohort import Cohort
from limbeck.core.matcher import Matcher
from limbeck.core.writer import TargetWriter
from limbeck.data.choice import DataChoice
from limbeck.data.examples import Examples
from limbeck.models import ModelSpec

# What a network says of a split, in the task's own form.
Answers: TypeAlias = Any
DIVERGED = (
    "the network's answers in evaluation are NaN or infinite: training has diverged; lower the learning rate, "
    "add warm-up or clip the gradient, and start in a new folder"
)


class Setting(NamedTuple):
    """What a recipe's stage puts a task together with.

    Attributes:
        data: where examples come from.
        networks: all that are built.
        method: who writes the soft targets.
        matchers: what representations are matched.
        cached: whether the teacher's answers are recorded.
        traced: whether the gradient of every example is logged.
        shuffled: how far examples move between epochs.
    """

    data: DataChoice
    networks: Sequence[ModelSpec]
    method: TargetWriter
    matchers: Sequence[Matcher]
    cached: bool
    traced: bool
    shuffled: str


class EvaluatedTask(ABC):
    """A task that networks can be trained for, tested on and reported of. One of `limbeck.tasks.TASKS`, by its name."""

    name: ClassVar[str]

    @property
    def chunk(self) -> int | None:
        """At most so many units have their targets at a time; None takes all together."""
        return None

    @abstractmethod
    def units(self, output: Output, batch: Batch) -> Units:
        """Return what is classified of a network's output."""

    def extra(self, output: Output, batch: Batch) -> Mapping[str, Tensor]:
        """Return what a network also pays for, by name: sums over the units, with gradient."""
        return {}

    @abstractmethod
    def check(self, setting: Setting) -> None:
        """Refuse what the task cannot be put together with.

        Raises:
            ValueError: says what, and how to mend it.
        """

    def check_teacher(self, teacher: nn.Module, student: nn.Module, where: str) -> None:
        """Refuse a teacher that does not tell what the student is asked.

        Args:
            teacher: the network, which may be without weights.
            student: likewise.
            where: how errors call the student's stage.

        Raises:
            LimbeckError: says why.
        """

    @abstractmethod
    def trial(self, examples: Examples, device: torch.device) -> tuple[View, str]:
        """Return a view of two examples that networks are tried with, and what errors call it."""

    @abstractmethod
    def answers(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Answers]:
        """Return what each network says, in eval mode, of this process's share of a split: cheap, for every epoch."""

    def tested(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Answers]:
        """Return what each network says of this process's share of a split, in full: for the end of a run."""
        return self.answers(cohort, examples, rank, world)

    @abstractmethod
    def joined(self, shares: Sequence[Answers]) -> Answers:
        """Return what a network says of a whole split, from the processes' shares in the order of ranks.

        Raises:
            NonFiniteLossError: an answer is NaN or infinite.
        """

    @abstractmethod
    def scores(self, said: Answers) -> dict[str, float]:
        """Return the figures of an epoch, the lower the better; the best epoch is lowest in the first, then the next.

        One of them is `error`, a share of 1, which stops and kept weights go by.
        """

    @abstractmethod
    def figures(self, said: Answers, held_out: Answers | None = None) -> dict[str, float]:
        """Return the figures of a test set, unscaled; with a validation split's answers, also those fitted on them."""

    @abstractmethod
    def arrays(self, said: Answers) -> dict[str, NDArray[Any]]:
        """Return what a run's predictions file keeps: ids, labels, and what was said."""

    def together(self, said: Sequence[Answers]) -> Answers | None:
        """Return the common answer of several networks, where the task has one."""
        return None

    def units_of(self, said: Answers, device: torch.device) -> Units:
        """Return what was said of held-out examples as units, for methods that weigh their students by it."""
        raise NotImplementedError(f"{self.name} keeps no logits of a whole split")

    def keep(self, folder: Path, examples: Examples) -> None:
        """Write into a run's folder what its data need to be read again."""

    def write(self, folder: Path, student: str, said: Answers, examples: Examples) -> None:
        """Write into a run's folder what else was said of the test set."""

    def notes(self, examples: Examples) -> dict[str, str]:
        """Return how figures are defined, for results.json."""
        return {}
