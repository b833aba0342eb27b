"""What representation is matched: the interface of every matcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.batch import Clock
from limbeck.core.layers import Layer, Layers
from limbeck.core.schedules import Schedule, at

Between: TypeAlias = Literal["teacher", "peers"]


class Term(NamedTuple):
    """One addend of the loss, beside what the writer's targets add.

    Attributes:
        weight: of the term in the sum.
        distance: mean over the examples of a batch, unweighted.
    """

    weight: float
    distance: Float[Tensor, ""]


class Pair(NamedTuple):
    """Two layers that are compared."""

    student: Layer
    teacher: Layer


class Coding(NamedTuple):
    """A small network that learns to rebuild the teacher's features, before any student is trained.

    Attributes:
        coder: its `encoder` is what the matcher is after.
        name: of the stage in which it learns.
        epochs: passes over the training examples.
        lr: constant learning rate of SGD with momentum 0.9 and weight decay 5e-4.
        nesterov: whether the momentum is Nesterov's.
        power: 1 for the mean absolute error of the reconstruction, 2 for the mean squared one.
    """

    coder: nn.Module
    name: str
    epochs: int
    lr: float
    nesterov: bool
    power: Literal[1, 2]


class Matcher(nn.Module, ABC):
    """What representation of a student and of who teaches it is matched.

    A matcher is a configured class (`limbeck.core.config.configurable_module`). What it trains are its modules, made by
    `prepare`; they step with the student's optimiser, and go into checkpoints but not into the student.

    Attributes:
        between: what the student is compared with: the teacher, or each other student.
    """

    between: Between
    # whether the teacher's batch norms are to normalise by the batch
    batch_statistics: bool = False
    # whether it wants sums over all of the teacher's features
    surveys: bool = False
    # how logs call its term
    term: ClassVar[str]

    @abstractmethod
    def choose(self, student: Layers, teacher: Layers) -> Sequence[Pair]:
        """Return the layers to compare: those of its fields, or what suits the two networks.

        Raises:
            LimbeckError: there is no such layer, or it cannot be compared.
        """

    @abstractmethod
    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Make the modules between the layers, anew.

        Raises:
            LimbeckError: the layers cannot be brought together.
        """

    def look(self, features: Tensor) -> Tensor:
        """Return what is kept of one of the student's layers: all, unless less will do."""
        return features

    def look_at_teacher(self, features: Tensor) -> Tensor:
        """Return what is kept of one of the teacher's layers: all, unless less will do."""
        return features

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], clock: Clock) -> Mapping[str, Term]:
        """Return the terms by name, one of what is kept of each layer, in the order of the pairs.

        Args:
            student: of `look`.
            teacher: of `look_at_teacher`, without gradient.
            clock: for weights that change over time.
        """

    def coding(self) -> Coding | None:
        """Return what must learn the teacher's features first, or None; after `prepare`."""
        return None

    def take(self, encoder: nn.Module) -> None:
        """Take what has learned the teacher's features; it is frozen, and no part of this module."""
        raise NotImplementedError

    def survey(self, teacher: Sequence[Tensor]) -> Tensor:
        """Return sums over a batch of the teacher's features, which `settle` takes over all of them.

        Args:
            teacher: the outputs of its layers, whole.
        """
        raise NotImplementedError

    def settle(self, sums: Tensor) -> None:
        """Take the sums of `survey` over all training examples."""

    def describe(self, pairs: Sequence[Pair]) -> str:
        """Say in one line what is compared with what."""
        return f"{self.term}: {', '.join(f'{_shown(pair.student)} with {_shown(pair.teacher)}' for pair in pairs)}"


def _shown(layer: Layer) -> str:
    return f"{layer.path} [{'×'.join(map(str, layer.shape))}]"


class Explorable(Matcher):
    """A matcher of one term, the gap, which can be pushed up as well, within bounds (IE-KD).

    Attributes:
        weight: of the gap.
    """

    weight: float | Schedule

    def understand(self, teacher: Sequence[Tensor]) -> tuple[Sequence[Tensor], Mapping[str, Term]]:
        """Return what of the teacher is compared, found once for all parts of the student, and terms of its own."""
        return teacher, {}

    def join(self, other: Any) -> None:
        """Use what another part's matcher of the same kind has for the teacher's features."""

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], clock: Clock) -> Mapping[str, Term]:
        """Return the gap."""
        understood, further = self.understand(teacher)
        return {self.term: Term(at(self.weight, clock), self.gap(student, understood)), **further}

    @abstractmethod
    def gap(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return how far the student is from the teacher: mean over examples, added up over layers."""

    @abstractmethod
    def exploration(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Return a loss that falls as the student leaves the teacher, and is bounded below."""
