"""The training loop. It has no callbacks: the order of events is the order of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from limbeck.core.batch import Clock
from limbeck.core.config import Count, Flag, Fraction, Positive, configurable
from limbeck.core.objective import Objective
from limbeck.core.shard import Shuffle
from limbeck.data.examples import Examples
from limbeck.data.order import shard_sizes
from limbeck.errors import LimbeckError
from limbeck.train.checkpoint import Checkpoints
from limbeck.train.evaluation import answers, evaluated
from limbeck.train.kept import Keep, Mark, errors_of, marks, never_reached, reached
from limbeck.train.optimisers import OptimiserChoice, build
from limbeck.train.progress import Display
from limbeck.train.rates import Rate, rate_at
from limbeck.train.record import Record, Sums
from limbeck.train.runtime import Precision, Runtime
from limbeck.train.state import State
from limbeck.train.trace import Trace


@configurable
class Training:
    """How long and how a stage is trained.

    Attributes:
        epochs: passes over the training examples.
        stop_epoch: end after so many epochs, in the middle of the schedules that `epochs` sets (a poor teacher).
        stop_accuracy: end at the first epoch whose accuracy on the validation split reaches this share, that of every
            student where there are several.
        keep_epochs: also keep the weights after so many epochs, each in a file of its own, to teach (`teacher.which:
            epoch-5`).
        keep_accuracies: likewise after the first epoch whose accuracy on the validation split reaches this share, of
            each student by itself (`teacher.which: accuracy-0.7`).
        batch_size: examples per optimiser step, over all processes; batches of an epoch differ by at most one example.
            Of translation, target tokens: a batch has so many at most, give or take a sentence.
        shuffle: how far examples move between epochs: "global", over all processes; "node", over those of a machine;
            "process", not at all. Where they stay, so do past predictions, and nobody sends them to another. Each batch
            takes its due of every machine or process; partners of mixed images are of the same one.
        accumulate: micro-batches per step on each process; the step is the same as without.
        clip: largest gradient norm, per student, and per matcher.
        ema: decay per step of the averaged weights, which are then the ones that are evaluated and exported.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        compile: compile each network with `torch.compile`.
        channels_last: keep the students' convolutions in the channels-last memory format, which is mostly the faster.
        checkpoint_steps: also write a checkpoint every so many steps within an epoch.
        trace: also log, per epoch, how the method rescales the gradient of each fifth of the examples, from easy to
            hard; `limbeck analyze` draws it.
    """

    epochs: Count = 30
    stop_epoch: Count | None = None
    stop_accuracy: Fraction | None = None
    keep_epochs: tuple[Count, ...] = ()
    keep_accuracies: tuple[Fraction, ...] = ()
    batch_size: Count = 128
    shuffle: Shuffle = "global"
    accumulate: Count = 1
    clip: Positive | None = None
    ema: Fraction | None = None
    precision: Precision = "32-true"
    compile: Flag = False
    channels_last: Flag = True
    checkpoint_steps: Count | None = None
    trace: Flag = False

    def __post_init__(self) -> None:
        if self.stop_epoch is not None and self.stop_epoch > self.epochs:
            raise ValueError(f"stop_epoch is {self.stop_epoch}, after the last of {self.epochs} epochs: lower it")
        if late := [epoch for epoch in self.keep_epochs if epoch > self.last_epoch]:
            raise ValueError(f"keep_epochs has {late[0]}, after the last of {self.last_epoch} epochs: leave it out")
        if len({str(mark) for mark in self.marks}) < len(self.marks):
            raise ValueError("keep_epochs and keep_accuracies name each place once")

    @property
    def last_epoch(self) -> int:
        """The number of epochs that are trained at most."""
        return self.stop_epoch or self.epochs

    @property
    def marks(self) -> list[Mark]:
        """Where weights are kept."""
        return marks(self.keep_epochs, self.keep_accuracies)


@dataclass(frozen=True)
class Session:
    """What the loop works with.

    Attributes:
        model: the objective, wrapped for the devices.
        stepper: the optimiser, wrapped for the devices.
        state: everything that moves.
        checkpoints: where states are kept.
        train: the training examples.
        held_out: what the students are asked about after every epoch, for methods that want to know, or None.
        rate: the learning-rate schedule.
        training: how long and how.
        seed: of order, views and dropout.
        runtime: devices and processes.
    """

    model: nn.Module
    stepper: Optimizer
    state: State
    checkpoints: Checkpoints
    train: Examples
    held_out: Examples | None
    rate: Rate
    training: Training
    seed: int
    runtime: Runtime


def fit(
    objective: Objective,
    train: Examples,
    validation: Examples | None,
    held_out: Examples | None = None,
    *,
    optimisers: Sequence[OptimiserChoice],
    rate: Rate,
    training: Training,
    seed: int,
    runtime: Runtime,
    display: Display,
    folder: Path,
    name: str = "student",
    keep: Keep | None = None,
) -> State:
    """Train an objective to the end, from its newest checkpoint in `folder` if there is one.

    Raises:
        NonFiniteLossError: a loss term became NaN or infinite; the checkpoint before it is kept.
        LimbeckError: `stop_accuracy` was never reached.
    """
    cohort, task = objective.cohort, evaluated(objective.task)
    if training.channels_last:
        cohort.to(memory_format=torch.channels_last)
    if training.compile:
        for part in cohort.parts:
            part.compile()
    runtime.begin()
    choices = [*optimisers, *(optimisers[student] for student, _ in objective.adapters)]
    stepped = build(choices, [*cohort.parts, *(adapter for _, adapter in objective.adapters)])
    model, stepper = runtime.setup(objective, stepped, turns=len(objective.turns) > 1)
    trace = Trace(train.id_space, train.count) if training.trace else None
    sizes = shard_sizes(train.count, runtime.shards(training.shuffle))
    state = State(objective, stepper, runtime, training.ema, trace, sizes)
    checkpoints = Checkpoints(folder / "checkpoints", display.say)
    if (saved := checkpoints.load()) is not None:
        state.load_state_dict(saved)
    session = Session(model, stepper, state, checkpoints, train, held_out, rate, training, seed, runtime)
    if len(set(runtime.gather(state.step))) > 1:
        raise LimbeckError(f"not every process sees the checkpoints in {folder}: put the folder on a shared disk")
    with (
        Record(folder if runtime.first else None, state.epoch) as record,
        display.run(name, training.last_epoch, state.epoch),
    ):
        while state.epoch < training.last_epoch and not state.reached:
            train_epoch(session)
            state.check()
            close_epoch(session)
            state.epoch, state.batch = state.epoch + 1, 0
            values = state.sums.means(runtime) | _rates(stepper, len(cohort.parts))
            values |= objective.figures()
            state.sums = Sums()
            if state.trace is not None:
                values |= state.trace.means(runtime)
            if validation is not None:
                said = answers(task, state.cohort, validation, runtime)
                values |= state.keep_best([task.scores(one) for one in said])
                objective.writer.validated(errors_of(values, len(state.best)))
                state.reached = reached(values, training.stop_accuracy)
            if keep is not None:
                keep.look(state.epoch, values, state.cohort)
            record.write(state.epoch, values)
            display.advance(state.epoch, values)
            save(session)
    if training.stop_accuracy is not None and not state.reached:
        raise never_reached(name, training.stop_accuracy, state.epoch, [kept["error"] for kept in state.best])
    return state


def _rates(stepper: Optimizer, students: int) -> dict[str, float]:
    """Return the learning rate, or that of each student where they differ."""
    rates = [group["lr"] for group in stepper.param_groups[:students]]
    return {"lr": rates[0]} if len(set(rates)) == 1 else {f"lr/{i}": rate for i, rate in enumerate(rates)}


def train_epoch(session: Session) -> None:
    """Train what is left of an epoch.

    Each step divides the loss by the number of units of the whole batch, over micro-batches and processes, so how a
    batch is cut does not matter.
    """
    state, training, runtime = session.state, session.training, session.runtime
    model, stepper, objective = session.model, session.stepper, session.state.objective
    steps = session.train.steps(training.batch_size)
    model.train()
    for parts, total in session.train.epoch(
        state.epoch,
        batch_size=training.batch_size,
        seed=session.seed,
        views=objective.views,
        siblings=objective.writer.needs.siblings,
        rank=runtime.rank,
        world=runtime.world,
        parts=training.accumulate,
        start=state.batch,
        shards=runtime.shards(training.shuffle),
    ):
        clock = Clock(state.epoch, training.epochs, state.step, steps * training.epochs)
        share = rate_at(session.rate, state.step, steps, training.epochs)
        for group in stepper.param_groups:
            group["lr"] = group["initial_lr"] * share
        for learner in objective.turns:
            runtime.seed(session.seed, state.step)
            for i, batch in enumerate(parts):
                with runtime.accumulating(model, enabled=i + 1 < len(parts)):
                    step = model(batch, clock, learner)
                    runtime.backward(step.loss * (runtime.world / total))
                state.sums.add(step)
                if state.trace is not None:
                    state.trace.add(step)
                objective.after(step)
            if training.clip is not None:
                adapters = [adapter for _, adapter in objective.adapters]
                runtime.clip(stepper, [*objective.cohort.parts, *adapters], training.clip)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        if state.averaged is not None:
            state.averaged.update(objective.cohort)
        state.step, state.batch = state.step + 1, state.batch + 1
        if training.checkpoint_steps and state.step % training.checkpoint_steps == 0 and state.batch < steps:
            state.check()
            save(session)


def close_epoch(session: Session) -> None:
    """Tell the method that an epoch is over, after what the students say of the held-out examples if it asks."""
    objective = session.state.objective
    if objective.writer.needs.held_out and session.held_out is not None:
        task = evaluated(objective.task)
        said = answers(task, objective.cohort, session.held_out, session.runtime)
        objective.writer.examine([task.units_of(one, session.runtime.device) for one in said])
    objective.after_epoch()


def save(session: Session) -> None:
    """Write a checkpoint of a checked state; every process takes part, the first one writes."""
    content = session.state.state_dict()
    if session.runtime.first:
        session.checkpoints.save(content, session.state.step)
    session.runtime.barrier()
