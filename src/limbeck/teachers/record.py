"""Fill a teacher's cache ahead of training: every view of every epoch of the cycle, once."""

from __future__ import annotations

from limbeck.data.examples import Examples
from limbeck.memory.processes import agreed
from limbeck.teachers.replay import ReplayedTeacher
from limbeck.train.loop import Training
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime


def record(
    teacher: ReplayedTeacher, train: Examples, training: Training, seed: int, runtime: Runtime, display: Display
) -> None:
    """Ask for the batches of the run's first epochs, as that run would, where rows are not there yet or are damaged.

    Args:
        teacher: with its cache.
        train: the training examples.
        training: batch size, micro-batches and precision.
        seed: of the order.
        runtime: devices and processes, which share the work.
        display: shows the epochs of the cycle.

    Raises:
        LimbeckError: the cache cannot be written, or batches cannot be cut so.
    """

    def verify() -> None:
        if lost := teacher.answers.forget_damaged():
            display.say(f"{lost:,} damaged row(s) in {teacher.answers.folder}: the teacher is asked again")

    agreed(verify if runtime.first else None)
    # agreed upon, since the processes wait for each other at the end of an epoch
    done = [all(runtime.gather(teacher.answers.complete(epoch))) for epoch in range(teacher.cycle)]
    with display.run("teacher's answers", teacher.cycle, 0):
        for epoch in range(teacher.cycle):
            if not done[epoch]:
                with runtime.fabric.autocast():
                    for parts, _ in train.epoch(
                        epoch,
                        batch_size=training.batch_size,
                        seed=seed,
                        views=teacher.views,
                        rank=runtime.rank,
                        world=runtime.world,
                        parts=training.accumulate,
                    ):
                        for batch in parts:
                            for number in range(teacher.views):
                                teacher.fill(batch, number, epoch)
                teacher.after_epoch()
                runtime.barrier()
            display.advance(epoch + 1, {})
