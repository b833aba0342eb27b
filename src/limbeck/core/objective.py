"""One training step: the cohort answers, the writer gives each answer its targets, imitation is summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.core.batch import Batch, Clock, Units
from limbeck.core.cohort import Cohort, Peers
from limbeck.core.imitation import Target, imitation
from limbeck.core.roles import RecordedTeacher, Task, Teacher
from limbeck.core.shard import Shard
from limbeck.errors import LimbeckError


class Step(NamedTuple):
    """All that one forward of the objective knew and found.

    Attributes:
        batch: what came in.
        clock: when.
        students: each student's units, in the cohort's order.
        teacher: the teacher's units on the view of each student, or None when there is no teacher.
        siblings: each student's units on another example of the same class, without gradient, or None.
        lessons: what the writer told each student to imitate.
        loss: the sum over students and units, to be divided by the global number of units.
        parts: for the log, sums over the units, by name.
    """

    batch: Batch
    clock: Clock
    students: list[Units]
    teacher: list[Units] | None
    siblings: list[Units] | None = None
    lessons: Sequence[Sequence[Target]] = ()
    loss: Float[Tensor, ""] | None = None
    parts: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})

    @property
    def units(self) -> int:
        """The number of units of one student on this process."""
        return self.students[0].logits.shape[0]


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

    def prepare(self, room: Room, cohort: Cohort) -> None:
        """Learn of how many examples and of which students something is to be remembered, before the first step."""

    def describe(self) -> str:
        """Say in one line what is remembered and what it takes, or nothing; after `prepare`."""
        return ""

    def after(self, step: Step) -> None:
        """Remember what this step taught; called once after each step."""

    def after_epoch(self, cohort: Cohort) -> None:
        """Close an epoch, after which the students are these; called by every process."""

    def examine(self, answers: Sequence[Units]) -> None:
        """Learn what each student says of the held-out examples after an epoch, all of them on every process."""

    def figures(self) -> Mapping[str, float]:
        """Return what an epoch's line of the log says of the writer itself, by name; after `after_epoch`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what `after` and `after_epoch` have gathered."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state where `state_dict` left it."""


class Objective(nn.Module):
    """The equation, put together: wrapped whole by the engine, one forward a step.

    Attributes:
        cohort: the trained networks.
        writer: who writes their soft targets.
        task: what is classified.
        teacher: who else answers, or None.

    Args:
        examples: 1 + the largest example id, for writers that remember each example; or a `Room`, which also says where
            what they remember may be kept.

    Raises:
        LimbeckError: the writer needs a teacher or `examples` that is not given; the teacher is a module.
    """

    def __init__(
        self,
        cohort: Cohort,
        writer: TargetWriter,
        task: Task,
        teacher: Teacher | None = None,
        examples: int | Room | None = None,
    ) -> None:
        super().__init__()
        method = type(writer).__name__
        if isinstance(teacher, nn.Module):
            raise LimbeckError("a module given as teacher would be trained and saved: give limbeck.Teacher(network)")
        if writer.needs.teacher and teacher is None:
            raise LimbeckError(f"{method} needs a teacher and none is given")
        if writer.needs.ids and examples is None:
            raise LimbeckError(f"{method} remembers each example: pass examples=1 + the largest example id")
        if len(cohort.names) < writer.needs.students:
            raise LimbeckError(
                f"{method} needs at least {writer.needs.students} students, and has {len(cohort.names)}: set peers"
            )
        if examples is not None:
            room = examples if isinstance(examples, Room) else Room(examples)
            writer.prepare(room._replace(students=len(cohort.names)), cohort)
        self.cohort, self.writer, self.task, self.teacher = cohort, writer, task, teacher
        self._recorded = teacher if isinstance(teacher, RecordedTeacher) else None

    @property
    def views(self) -> int:
        """How many views of each example a step needs."""
        return len(self.cohort.names) if self.writer.needs.own_views else 1

    @property
    def turns(self) -> Sequence[int | None]:
        """Who learns, one after the other, in the updates of one batch; None is all together."""
        return range(len(self.cohort.names)) if self.writer.needs.turns else (None,)

    def forward(self, batch: Batch, clock: Clock, learner: int | None = None) -> Step:
        """Return the step with its loss: un-normalised sums over this process's units.

        Args:
            batch: the examples.
            clock: where training stands.
            learner: the only student whose loss has a gradient; None is all.
        """
        outputs = self.cohort(batch.views, learner)
        students = [self.task.units(output, batch) for output in outputs]
        step = Step(batch, clock, students, self._teach(batch, clock, len(students)), self._look_at_siblings(batch))
        lessons = self.writer.write(step)
        losses = [imitation(units, targets) for units, targets in zip(students, lessons, strict=True)]
        parts = {
            name if len(losses) == 1 else f"{name}/{i}": value
            for i, loss in enumerate(losses)
            for name, value in loss.parts.items()
        }
        return step._replace(lessons=lessons, loss=_sum([loss.total for loss in losses]), parts=parts)

    def _teach(self, batch: Batch, clock: Clock, students: int) -> list[Units] | None:
        """Ask the teacher once per distinct view; students that share a view share the answer."""
        if self.teacher is None:
            return None
        if self._recorded is None:
            outputs = [self.teacher(view) for view in batch.views]
        else:
            outputs = [self._recorded.on(batch, number, clock) for number in range(len(batch.views))]
        answers = [self.task.units(output, batch) for output in outputs]
        return answers if len(answers) == students else answers * students

    @torch.no_grad()
    def _look_at_siblings(self, batch: Batch) -> list[Units] | None:
        """Ask the students themselves, in a forward of its own, as they are (in training mode when training)."""
        if not self.writer.needs.siblings:
            return None
        if not batch.siblings:
            method = type(self.writer).__name__
            raise LimbeckError(f"{method} needs siblings in every batch: take batches from epoch(..., siblings=True)")
        units = [self.task.units(output, batch) for output in self.cohort(batch.siblings)]
        return [one._replace(logits=one.logits.detach()) for one in units]

    def after(self, step: Step) -> None:
        """Let the writer remember the step."""
        self.writer.after(step)

    def after_epoch(self) -> None:
        """Let the writer, and a teacher whose answers are kept, close the epoch."""
        self.writer.after_epoch(self.cohort)
        if self._recorded is not None:
            self._recorded.after_epoch()

    def get_extra_state(self) -> dict[str, Any]:
        """Put the writer's memory beside the weights, so that one state_dict holds all that training moves."""
        return self.writer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the writer's memory up again."""
        self.writer.load_state_dict(state)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
