"""What networks say of a whole split, on every process."""

from __future__ import annotations

from typing import Any

from limbeck.core.cohort import Cohort
from limbeck.core.roles import Task
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.tasks.classification import Classification, Predictions
from limbeck.tasks.task import EvaluatedTask
from limbeck.train.runtime import Runtime


def evaluated(task: Task) -> EvaluatedTask:
    """Return a task that can also be evaluated.

    Raises:
        LimbeckError: it cannot.
    """
    if not isinstance(task, EvaluatedTask):
        raise LimbeckError(f"{type(task).__name__} cannot be evaluated: make it a limbeck.tasks.EvaluatedTask")
    return task


def answers(task: EvaluatedTask, cohort: Cohort, examples: Examples, runtime: Runtime, full: bool = False) -> list[Any]:
    """Return what each network says of a split, in the task's own form, on every process.

    Args:
        task: what is asked.
        cohort: the networks.
        examples: the split.
        runtime: devices and processes.
        full: all that is reported at the end of a run, not what an epoch is judged by.

    Raises:
        NonFiniteLossError: an answer is NaN or infinite.
        LimbeckError: there are fewer examples than processes.
    """
    if examples.count < runtime.world:
        raise LimbeckError(f"{examples.count} examples cannot be shared among {runtime.world} processes: use fewer")
    ask = task.tested if full else task.answers
    shares = runtime.gather(ask(cohort, examples, runtime.rank, runtime.world))
    return [task.joined([share[i] for share in shares]) for i in range(len(cohort.names))]


def predictions(cohort: Cohort, examples: Examples, runtime: Runtime) -> list[Predictions]:
    """Return each student's logits on a whole split of images, on every process.

    Raises:
        NonFiniteLossError: an answer is NaN or infinite.
        LimbeckError: there are fewer examples than processes.
    """
    return answers(Classification(), cohort, examples, runtime)
