"""One training step: the cohort answers, the writer gives each answer its targets, imitation is summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.core.batch import Batch, Clock, Output, Units
from limbeck.core.chunks import chunked, pieces
from limbeck.core.cohort import Chooser, Cohort, Peers
from limbeck.core.comparison import Comparison, shares
from limbeck.core.imitation import Losses, imitation
from limbeck.core.matcher import Matcher
from limbeck.core.roles import RecordedTeacher, Task, Teacher
from limbeck.core.writer import Room, Step, TargetWriter
from limbeck.errors import LimbeckError


class Objective(nn.Module):
    """The equation, put together: wrapped whole by the engine, one forward a step.

    Attributes:
        cohort: the trained networks.
        writer: who writes their soft targets.
        task: what is classified.
        teacher: who else answers, or None.
        comparison: what the matchers compare, or None without matchers.

    Args:
        examples: 1 + the largest example id, for writers that remember each example; or a `Room`, which also says where
            what they remember may be kept.
        matchers: what representations are matched; the teacher, where they compare with one, has a module `net`.
        shape: of one image, [C, H, W], which matchers need to see what layers put out.
        seed: of the first weights of what matchers train.

    Raises:
        LimbeckError: the writer or a matcher needs a teacher, `examples` or `shape` that is not given; the teacher is
            a module; layers that cannot be compared.
    """

    def __init__(
        self,
        cohort: Cohort,
        writer: TargetWriter,
        task: Task,
        teacher: Teacher | None = None,
        examples: int | Room | None = None,
        matchers: Sequence[Matcher] = (),
        shape: tuple[int, ...] | None = None,
        seed: int = 0,
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
        room = examples if isinstance(examples, Room) else Room(examples or 0)
        writer.prepare(room._replace(students=len(cohort.names)), cohort)
        self.cohort, self.writer, self.task, self.teacher = cohort, writer, task, teacher
        self._recorded = teacher if isinstance(teacher, RecordedTeacher) else None
        if writer.needs.own_views and any(matcher.between == "peers" for matcher in matchers):
            raise LimbeckError(
                f"{method} gives each student a view of its own, and matchers between peers compare place by place: "
                "set its views to shared, or leave those matchers out"
            )
        if matchers and task.chunk is not None:
            raise LimbeckError(
                f"{type(task).__name__} takes its units in chunks, and matchers all together: set no chunk"
            )
        self.comparison = _comparison(matchers, cohort, teacher, shape, seed) if matchers else None

    @property
    def views(self) -> int:
        """How many views of each example a step needs."""
        return len(self.cohort.names) if self.writer.needs.own_views else 1

    @property
    def adapters(self) -> list[tuple[int, nn.Module]]:
        """What matchers train beside the students, each with the number of the student that it serves."""
        return [] if self.comparison is None else self.comparison.adapters

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
        shared = clock.opens_epoch and torch.is_grad_enabled()
        with nullcontext() if self.comparison is None else self.comparison.listening(uncompiled=shared):
            outputs = self.cohort(batch.views, learner)
            teacher = self._teach(batch, clock, outputs)
        students = [self.task.units(output, batch) for output in outputs]
        step = Step(batch, clock, students, teacher, self._look_at_siblings(batch), outputs)
        extra = [self.task.extra(output, batch) for output in outputs]
        if self.task.chunk is not None:
            found = chunked(step, self.task.chunk, self._imitate)
            return _with_extra(step._replace(loss=found.total, parts=found.parts), extra)
        lessons = self.writer.write(step)
        losses = [imitation(units, targets) for units, targets in zip(students, lessons, strict=True)]
        parts = _numbered([loss.parts for loss in losses])
        total = _sum([loss.total for loss in losses])
        step = _with_extra(step._replace(lessons=lessons, loss=total, parts=parts), extra)
        if self.comparison is None:
            return step
        costs = [_sum([loss.total, *terms.values()]) for loss, terms in zip(losses, extra, strict=True)]
        return self._compare(step, costs, learner)

    def _imitate(self, step: Step) -> Losses:
        """Return what imitating costs all students together."""
        lessons = self.writer.write(step)
        losses = [imitation(units, targets) for units, targets in zip(step.students, lessons, strict=True)]
        return Losses(_sum([loss.total for loss in losses]), _numbered([loss.parts for loss in losses]))

    def _compare(self, step: Step, costs: Sequence[Tensor], learner: int | None) -> Step:
        """Add what the matchers find to a step's loss, as sums over its units; `costs` are each student's without."""
        assert self.comparison is not None
        compared = self.comparison(step.clock, learner)
        terms = [term for found in compared.terms for term in found.values()]
        distances = [
            {name: term.distance.detach() * step.units for name, term in found.items()} for found in compared.terms
        ]
        shared: Mapping[str, Tensor] = {}
        if torch.is_grad_enabled() and step.clock.opens_epoch:
            shared = shares(compared, costs, step.units)
        added = [term.weight * term.distance * step.units for term in terms]
        assert step.loss is not None
        return step._replace(
            loss=_sum([step.loss, *added]), parts={**step.parts, **_numbered(distances)}, gradient_shares=shared
        )

    def _teach(self, batch: Batch, clock: Clock, students: Sequence[Output]) -> list[Units] | None:
        """Ask the teacher once per distinct view; students that share a view share the answer."""
        if self.teacher is None:
            return None
        if self._recorded is not None:
            outputs = [self._recorded.on(batch, number, clock) for number in range(len(batch.views))]
        elif any(isinstance(student, Chooser) for student in self.cohort.parts):
            outputs = [self.teacher(view, like) for view, like in zip(batch.views, students, strict=False)]
        else:
            outputs = [self.teacher(view) for view in batch.views]
        answers = [self.task.units(output, batch) for output in outputs]
        return answers if len(answers) == len(students) else answers * len(students)

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
        for part in [step] if self.task.chunk is None else pieces(step, self.task.chunk):
            self.writer.after(part)
        if self.comparison is not None:
            self.comparison.remember(step.gradient_shares)

    def after_epoch(self) -> None:
        """Let the writer, and a teacher whose answers are kept, close the epoch."""
        self.writer.after_epoch(self.cohort)
        if self._recorded is not None:
            self._recorded.after_epoch()

    def figures(self) -> dict[str, float]:
        """Return what an epoch's line of the log says beside the losses: of the writer, and of the matchers' pull."""
        return {**self.writer.figures(), **(self.comparison.figures() if self.comparison is not None else {})}

    def get_extra_state(self) -> dict[str, Any]:
        """Put the writer's memory beside the weights, so that one state_dict holds all that training moves."""
        return self.writer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the writer's memory up again."""
        self.writer.load_state_dict(state)


def _comparison(
    matchers: Sequence[Matcher], cohort: Cohort, teacher: Teacher | None, shape: tuple[int, ...] | None, seed: int
) -> Comparison:
    if shape is None:
        raise LimbeckError("matchers look at layers: pass shape=, that of one image, such as (3, 32, 32)")
    if not isinstance(cohort, Peers):
        raise LimbeckError("matchers compare networks, and this method makes its students of one: leave matchers out")
    network = None
    if any(matcher.between == "teacher" for matcher in matchers):
        if isinstance(teacher, RecordedTeacher):
            raise LimbeckError("recorded answers have no layers to match: leave teacher.cache out, or the matchers")
        network = getattr(teacher, "net", None)
        if teacher is not None and not isinstance(network, nn.Module):
            raise LimbeckError("matchers look into the teacher's network: give limbeck.Teacher(network)")
    return Comparison(matchers, cohort.parts, network, shape, seed)


def _with_extra(step: Step, extra: Sequence[Mapping[str, Tensor]]) -> Step:
    """Add what the task asks of each student beside what is distilled."""
    terms = [term for found in extra for term in found.values()]
    if not terms:
        return step
    told = _numbered([{name: term.detach() for name, term in found.items()} for found in extra])
    assert step.loss is not None
    return step._replace(loss=_sum([step.loss, *terms]), parts={**step.parts, **told})


def _numbered(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return all students' values, by name, with the student's number where there are several."""
    return {
        name if len(parts) == 1 else f"{name}/{i}": value for i, one in enumerate(parts) for name, value in one.items()
    }


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
