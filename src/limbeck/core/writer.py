"""Who writes the soft target: the interface of every method, and the step that it sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.batch import Batch, Clock, Output, Units
from limbeck.core.cohort import Cohort, Peers
from limbeck.core.imitation import Target
from limbeck.core.shard import Shard


class Step(NamedTuple):
    """All that one forward of the objective knew and found.

    Attributes:
        batch: what came in.
        clock: when.
        students: each student's units, in the cohort's order.
        teacher: the teacher's units on the view of each student, or None when there is no teacher.
        outputs: all that each student answered.
        siblings: each student's units on another example of the same class, without gradient, or None.
        lessons: what the writer told each student to imitate.
        rows: which of the batch's units these are, where they come in chunks.
        loss: the sum over students and units, to be divided by the global number of units.
        parts: for the log, sums over the units, by name.
        gradient_shares: of the matchers' terms, for the log, in the first step of an epoch.
    """

    batch: Batch
    clock: Clock
    students: list[Units]
    teacher: list[Units] | None
    siblings: list[Units] | None = None
    outputs: Sequence[Output] = ()
    rows: slice = slice(None)
    lessons: Sequence[Sequence[Target]] = ()
    loss: Float[Tensor, ""] | None = None
    parts: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})
    gradient_shares: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})

    @property
    def units(self) -> int:
        """What sums are divided by: the number of units of one student on this process, counted as they count.

        Of examples, where no student tells any, or where an example's units count as one together.
        """
        told = [len(units.logits) for units in self.students[:1] if units.weight is None]
        return sum(told) or len(self.batch.ids)


Relation = Literal["any", "larger", "smaller", "same"]


class Needs(NamedTuple):
    """What a target writer cannot do without.

    Attributes:
        teacher: a frozen network that answers beside the students.
        ids: the number of example ids, to remember something of each.
        siblings: of every example, another one of its class.
        relation: what the teacher's network must be beside the student's, by number of parameters.
        students: at least so many that learn together.
        copies: so many networks of the first student's kind, which the method makes one of.
        own_views: a random view of each image for every student, in place of one that they share.
        held_out: examples beside the training set, which the students are asked about after every epoch.
        turns: that the students step one after the other, each after a new look at the others.
        validation: the students' errors on a validation split, after every epoch.
        distributions: students whose answers are distributions over the classes; labels alone need none.
    """

    teacher: bool = False
    ids: bool = False
    siblings: bool = False
    relation: Relation = "any"
    students: int = 1
    copies: int = 1
    own_views: bool = False
    held_out: bool = False
    turns: bool = False
    validation: bool = False
    distributions: bool = True


class Room(NamedTuple):
    """What a writer that remembers needs to know: of how many examples, and where it may keep things.

    Attributes:
        examples: 1 + the largest example id.
        classes: how many there are, or None where the first step tells.
        folder: the run's, for what does not fit into memory; None where nothing is kept on a disk. All processes of a
            node must see it.
        data: fingerprint of the training examples: what was kept of others is refused.
        students: how many there are; the Objective fills it in.
        node: which machine this process runs on, from 0.
        nodes: how many there are.
        local_rank: which of its machine's processes this one is; 0 writes what they share.
        local_world: how many processes its machine has.
        shard: the examples that stay here in every epoch; None where they move between all processes.
        steps: of an epoch, where it is known.
    """

    examples: int
    classes: int | None = None
    folder: Path | None = None
    data: str = ""
    students: int = 1
    node: int = 0
    nodes: int = 1
    local_rank: int = 0
    local_world: int = 1
    shard: Shard | None = None
    steps: int | None = None


class TargetWriter(ABC):
    """Who writes the soft target. Writing is pure; state moves in `after` and `after_epoch`."""

    # of the class, or of the object where its fields decide
    needs: Needs = Needs()

    def cohort(self, networks: Sequence[nn.Module]) -> Cohort:
        """Return how these networks learn together."""
        return Peers(networks)

    @abstractmethod
    def write(self, step: Step) -> list[list[Target]]:
        """Return the targets of each student."""

    def check(self, classes: int) -> None:
        """Refuse settings that mean nothing for so many classes, before anything is written."""

    def check_epochs(self, epochs: int) -> None:
        """Refuse settings that mean nothing for a training of so many epochs, before anything is written."""

    def prepare(self, room: Room, cohort: Cohort) -> None:
        """Learn of how many examples and of which students something is to be remembered, before the first step."""

    def describe(self) -> str:
        """Say in one line what is remembered and what it takes, or nothing; after `prepare`."""
        return ""

    def after(self, step: Step) -> None:
        """Remember what this step taught; called once after each step, or once for each chunk of its units."""

    def after_epoch(self, cohort: Cohort) -> None:
        """Close an epoch, after which the students are these; called by every process."""

    def examine(self, answers: Sequence[Units]) -> None:
        """Learn what each student says of the held-out examples after an epoch, all of them on every process."""

    def validated(self, errors: Sequence[float]) -> None:
        """Learn each student's validation error after an epoch, where there is a split; called by every process."""

    def figures(self) -> Mapping[str, float]:
        """Return what an epoch's line of the log says of the writer itself, by name; after `after_epoch`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what `after` and `after_epoch` have gathered."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state where `state_dict` left it."""
