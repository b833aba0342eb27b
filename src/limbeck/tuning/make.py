"""A search from its first trial to its last: in rounds, so that all recipes have had the same wherever it stops."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.metrics import summary
from limbeck.studies.here import Here
from limbeck.studies.processes import Processes
from limbeck.studies.schedule import Course, Executor, stage_keys, stages_there
from limbeck.studies.sources import check_sources
from limbeck.teachers.plan import Plan
from limbeck.train.folder import check_owner, held
from limbeck.train.predictions import read_validation
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime
from limbeck.tuning.record import FILE, Trial, read_record, write_record
from limbeck.tuning.sampler import Told, propose
from limbeck.tuning.search import Prepared, Search, trial_name


@dataclass(frozen=True)
class Outcome:
    """A search with all that came out of it.

    Attributes:
        prepared: it.
        trials: of each recipe, by its label, in their order.
    """

    prepared: Prepared
    trials: dict[str, list[Trial]]

    def best(self, label: str) -> Trial | None:
        """Return a recipe's best trial, the earliest of equal ones; None where all have failed."""
        there = [trial for trial in self.trials[label] if trial.figure is not None]
        return min(there, key=lambda trial: (trial.figure, trial.number), default=None)

    def as_written(self, search: Search) -> Trial | None:
        """Return the trial that is the recipe as it is written; None where its values are not in the space."""
        first = next(iter(self.trials[search.label]), None)
        return first if first is not None and first.values == search.own else None


def make(prepared: Prepared, display: Display) -> Outcome:
    """Make the trials that are not there yet.

    Raises:
        LimbeckError: the folder holds another search, or another process is making this one; a file cannot be read or
            written.
    """
    check_owner(prepared.folder, FILE)
    if left(prepared):
        check_sources({search.recipe: search.planned({}) for search in prepared.searches})
    with (
        held(prepared.folder, Runtime("cpu", devices=1, nodes=1)),
        closing(_executor(prepared)) as maker,
    ):
        trials = read_record(prepared)
        for there in trials.values():
            # where nothing has worked it was not the values: a missing file, a full disk
            if all(trial.why is not None for trial in there):
                there.clear()
        for number in range(1, prepared.trials + 1):
            _round(prepared, number, trials, maker, display)
        write_record(prepared, trials)
    return Outcome(prepared, trials)


def _executor(prepared: Prepared) -> Executor:
    return Here() if prepared.jobs == 1 else Processes(prepared.jobs, prepared.threads, prepared.folder)


def _round(prepared: Prepared, number: int, trials: dict[str, list[Trial]], maker: Executor, display: Display) -> None:
    """Make the trials of one number (counted from 1), of every recipe."""
    for search in prepared.searches:
        there = trials[search.label]
        if len(there) < number and (values := suggested(search, there)) is not None:
            there.append(Trial(number, values))
    begun = {
        search.label: search
        for search in prepared.searches
        if len(trials[search.label]) >= number and not trials[search.label][number - 1].over
    }
    if not begun:
        return
    # what a killed search was at is what it goes on with
    write_record(prepared, trials)
    plans: dict[str, Plan] = {}
    failed: dict[str, str] = {}
    for label, search in begun.items():
        try:
            plans[label] = search.planned(trials[label][number - 1].values)
        except LimbeckError as error:
            failed[label] = str(error)
    orders = {label: prepared.order(begun[label], number, found) for label, found in plans.items()}
    runs = {order.name: order for order in orders.values()}
    title = f"trial {number} of {prepared.trials}"
    course = Course(runs, {orders[label].name: found for label, found in plans.items()}, display, title)
    if course.trainings:
        course.run(maker)
    for label, search in begun.items():
        trial, name = trials[label][number - 1], trial_name(label, number)
        if (event := course.failures.get(name)) is not None:
            files.write(prepared.folder / "failures" / f"{name}.txt", f"{event.text}\n{event.trace}")
            failed[label] = event.text
        if label in failed:
            trials[label][number - 1] = trial._replace(why=failed[label])
        else:
            trials[label][number - 1] = trial._replace(figure=_figure(prepared, search, number))
            display.say(_said(Outcome(prepared, trials), label, number))
    write_record(prepared, trials)


def suggested(search: Search, trials: list[Trial]) -> dict[str, object] | None:
    """Return the values of the next trial; None where the space has no more. The first is the recipe as written."""
    if not trials and search.own is not None:
        return search.own
    return propose(search.space, [Told(trial.values, trial.figure) for trial in trials])


def _figure(prepared: Prepared, search: Search, number: int) -> float:
    """Return the figure of a finished trial on the validation split: its last weights', read from its own answers.

    The run's results.json, which has the figures of the test set, is not looked at.
    """
    folder = prepared.folder / "trials" / trial_name(search.label, number)
    said = read_validation(folder, "student-0" if search.several else "student")
    figures = summary(said.logits, said.labels)
    if prepared.by.key not in figures:
        raise LimbeckError(f"--by {prepared.by.key}: {search.recipe} has too few classes for it: choose another figure")
    return figures[prepared.by.key]


def _said(outcome: Outcome, label: str, number: int) -> str:
    by, trial, best = outcome.prepared.by, outcome.trials[label][number - 1], outcome.best(label)
    assert trial.figure is not None
    assert best is not None
    text = f"{trial_name(label, number)}: {by.name} on the validation split {by.show(trial.figure)}"
    assert best.figure is not None
    return text + (", the best so far" if best is trial else f"; best {by.show(best.figure)} (trial {best.number})")


def outline(prepared: Prepared) -> tuple[list[dict[str, str]], str]:
    """Return a row per recipe, and one line that says how much is still to be trained; nothing is run.

    Raises:
        LimbeckError: the folder holds another search.
    """
    trials = read_record(prepared)
    there = stages_there(prepared.folder / "trials" / "stages")
    rows, runs, epochs = [], 0, 0
    stages: dict[str, int] = {}
    for search in prepared.searches:
        planned, over = search.trials(prepared.trials), sum(trial.over for trial in trials[search.label])
        found = search.planned({})
        rows.append(
            {
                "recipe": search.recipe,
                "trials": str(planned),
                "finished": str(over),
                "epochs of a trial": str(found.student.training.last_epoch),
                "space": "  ".join(f"{key}={axis}" for key, axis in search.space.items()) or "nothing to search",
            }
        )
        runs += planned - over
        epochs += (planned - over) * found.student.training.last_epoch
        if over < planned and not over:
            keys = stage_keys(found)
            stages |= {key: found.stages[name].training.last_epoch for name, key in keys.items() if key not in there}
    shared = f" and {len(stages)} earlier stage(s), each once" if stages else ""
    return rows, f"to train: {runs} runs{shared}, {epochs + sum(stages.values()):,} epochs in all"


def left(prepared: Prepared) -> int:
    """Return how many rounds are not finished.

    Raises:
        LimbeckError: the folder holds another search.
    """
    trials = read_record(prepared)
    over: Mapping[str, int] = {label: sum(trial.over for trial in there) for label, there in trials.items()}
    return max((search.trials(prepared.trials) - over[search.label] for search in prepared.searches), default=0)
