"""What a run of each candidate takes on this machine: three epochs each, on a few batches, thrown away afterwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from limbeck.advice.candidates import BASELINE, CANDIDATES
from limbeck.advice.question import WHERE, Base, Question, at_length
from limbeck.advice.rounds import contest, prepared, teacher_epochs, teachers, teaching
from limbeck.advice.schedule import Cost
from limbeck.data.split import stratified_split, stratified_subset
from limbeck.errors import LimbeckError
from limbeck.recipes.parse import merged
from limbeck.recipes.read import plan
from limbeck.studies.make import Prepared
from limbeck.studies.orders import Event, Order, Report
from limbeck.studies.schedule import Executor
from limbeck.studies.study import Study
from limbeck.train.progress import Display

STEPS, EPOCHS = 10, 3
# stages in which features are coded, as `Coding` names them
CODERS = {"paraphraser", "autoencoder"}
# of the learning rate, which changes no time: a training that is so short shall not diverge
_GENTLE = 1e-3
# of a step: a pass forward alone
_FORWARD = 1 / 3

Clock = Callable[[], float]
# makes the runs of a study
Hire = Callable[[Prepared], Executor]


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        costs: of a run, by candidate.
        teachers: seconds to train each teacher, by its name.
        failures: why candidates cannot be trained, by their names.
    """

    costs: dict[str, Cost]
    teachers: dict[str, float]
    failures: dict[str, str]


class Small(NamedTuple):
    """A part of the data.

    Attributes:
        examples: to train on.
        validation: to be held out.
        ratio: by how much the whole is larger.
    """

    examples: int
    validation: int
    ratio: float


class Stopwatch(Executor):
    """Notes when things happen in runs that another executor makes.

    Args:
        maker: it.
        clock: in seconds.
    """

    def __init__(self, maker: Executor, clock: Clock) -> None:
        self._maker, self._clock = maker, clock
        self.events: dict[str, list[tuple[float, Event]]] = {}
        self.started: dict[str, float] = {}

    @property
    def free(self) -> bool:
        """Whether the other one is."""
        return self._maker.free

    def start(self, order: Order, report: Report) -> None:
        """Begin a run, and note when."""
        self.started[order.name] = self._clock()
        self._maker.start(order, self._noting(report))

    def wait(self, report: Report) -> None:
        """Wait for the other one."""
        self._maker.wait(self._noting(report))

    def close(self) -> None:
        """Close the other one."""
        self._maker.close()

    def _noting(self, report: Report) -> Report:
        def note(event: Event) -> None:
            self.events.setdefault(event.run, []).append((self._clock(), event))
            report(event)

        return note


class Timed(NamedTuple):
    """The seconds of a run.

    Attributes:
        epochs: of each stage's epochs in turn, by the stage.
        rest: of all else.
    """

    epochs: dict[str, list[float]]
    rest: float


def timed(started: float, events: Sequence[tuple[float, Event]]) -> Timed:
    """Return what a run took, from when it was begun and what happened in it."""
    epochs: dict[str, list[float]] = {}
    stage, before = "", started
    for at, event in events:
        if event.kind == "stage":
            stage = event.text
        elif event.kind == "epoch":
            epochs.setdefault(stage, []).append(at - before)
        if event.kind in {"stage", "epoch"}:
            before = at
    whole = events[-1][0] - started
    return Timed(epochs, max(0.0, whole - sum(map(sum, epochs.values()))))


def cost(found: Timed, ratio: float, rest: float, evaluated: float) -> Cost:
    """Return what a run on all data costs.

    Coders have a number of epochs of their own; all else has as many as the run, and their median counts: the first
    warms up, and one may be disturbed.

    Args:
        found: of a run on a part of the data.
        ratio: by how much all data are larger.
        rest: seconds beside the epochs.
        evaluated: what evaluation takes, in epochs.
    """
    coders = {stage: times for stage, times in found.epochs.items() if stage in CODERS}
    epoch = ratio * sum(statistics.median(times) for stage, times in found.epochs.items() if stage not in coders)
    once = rest + ratio * sum(map(sum, coders.values())) + evaluated * epoch
    return Cost(round(epoch, 6), round(once, 6))


def small(train_labels: Int64[np.ndarray, " train"], held_labels: Int64[np.ndarray, " held"], batch_size: int) -> Small:
    """Return a part of the data for so many steps, in which each class still has an example on both sides."""
    train, held = len(train_labels), len(held_labels)
    labels = np.concatenate([train_labels, held_labels])
    examples = STEPS * batch_size
    while examples < train:
        validation = max(1, round(held * examples / train))
        try:
            kept, _ = stratified_split(labels, validation, 0)
            stratified_subset(labels[kept], examples, 0)
        except LimbeckError:
            examples *= 2
            continue
        return Small(examples, validation, train / examples)
    return Small(train, held, 1.0)


@dataclass(frozen=True)
class Bench:
    """Where trial runs are made.

    Attributes:
        folder: where they go, which is the caller's to remove.
        accelerator: of the runs.
        hire: returns who makes a study's runs, so many at a time as later.
        display: where it is said what is measured.
        clock: in seconds.
    """

    folder: Path
    accelerator: str
    hire: Hire
    display: Display
    clock: Clock = time.monotonic

    def time(self, name: str, study: Study) -> tuple[dict[str, Timed], dict[str, str]]:
        """Make a study of one seed, and return what each cell's run took, and why others failed."""
        one = prepared(name, study, self.folder / name, self.accelerator, "")
        # what fails here is told of in a line of the plan
        course = one.course(Display(silent=True))
        self.display.say(f"{name}: {course.trainings} short trainings")
        with closing(Stopwatch(self.hire(one), self.clock)) as watch:
            course.run(watch)
        runs = {cell.run(seed): cell.name for cell in one.cells for seed in study.seeds}
        found = {cell: timed(watch.started[run], watch.events[run]) for run, cell in runs.items()}
        failed = {runs[run]: event.text for run, event in course.failures.items()}
        return {cell: times for cell, times in found.items() if cell not in failed}, failed


def measure(question: Question, base: Base, names: Sequence[str], bench: Bench) -> Measured:
    """Train every candidate for a few epochs on a part of the data, and reckon what the whole takes.

    Args:
        question: it.
        base: what the candidates share.
        names: of the candidates, the baseline first.
        bench: where the runs are made.

    Raises:
        LimbeckError: the baseline or the teacher cannot be trained.
    """
    recipe, splits, tested = base
    stage = plan(recipe, WHERE).student
    # of the splits the validation split is in the place of the test set
    part = small(splits.train.labels, splits.test.labels, stage.training.batch_size)
    brief = replace(question, epochs=min(EPOCHS, question.epochs))
    cut = {"data": {"examples": part.examples, "validation": part.validation}}
    gentle = {"optimiser": {"lr": _GENTLE * stage.optimiser.lr}}
    short = merged(merged(at_length(recipe, brief.epochs, "validation"), cut), gentle)
    # last and best weights on both splits, without a backward pass; of rungs that is more than they evaluate
    evaluated = 2 * _FORWARD * (splits.test.count + tested) / splits.train.count
    taught = teaching(question, bench.folder)
    taken: dict[str, float] = {}
    kinds = {CANDIDATES[name].teacher for name in names}
    if isinstance(question.teacher, dict) and kinds != {None}:
        wanted = ["full", "short"] if "short" in kinds else ["full"]
        times, failed = bench.time("measuring-teachers", teachers(brief, short, wanted))
        if failed:
            raise LimbeckError(f"the teacher cannot be trained: {next(iter(failed.values()))}")
        one = cost(times["full"], part.ratio, times["full"].rest, evaluated)
        taken = {name: one.run(epochs) for name, epochs in teacher_epochs(question).items()}
        taught = teaching(brief, bench.folder / "measuring-teachers")
    trial = contest(brief, short, names, taught, epochs=brief.epochs, seeds=[0], final=False)
    times, failed = bench.time("measuring", trial)
    if BASELINE in failed:
        raise LimbeckError(f"the student cannot be trained: {failed[BASELINE]}")
    rest = statistics.median(one.rest for one in times.values())
    costs = {name: cost(one, part.ratio, rest, evaluated) for name, one in times.items()}
    # no other method does less than it; where it seems so, something else was going on
    costs[BASELINE] = replace(costs[BASELINE], epoch=min(one.epoch for one in costs.values()))
    return Measured(costs, taken, failed)
