"""A tournament from its plan to its advice. The same call continues one that was stopped or killed.

Who goes on from a rung is decided by the validation figures of its finished runs alone, and written down as the next
rung's study before that begins. The runs of rungs never look at the test set (`Data.evaluate`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.advice.candidates import BASELINE, CANDIDATES
from limbeck.advice.measure import Hire
from limbeck.advice.planned import Planned
from limbeck.advice.rounds import contest, keep, prepared, teachers, teaching
from limbeck.advice.schedule import Rung, kept_seeds
from limbeck.advice.spending import seconds_of
from limbeck.errors import LimbeckError
from limbeck.recipes.parse import merged
from limbeck.studies.claims import Figure
from limbeck.studies.make import Prepared, judge_runs, make
from limbeck.studies.outcome import Judged, Outcome
from limbeck.studies.study import read_study
from limbeck.train.progress import Display


class Held(NamedTuple):
    """A rung that is over.

    Attributes:
        rung: as it was planned.
        outcome: of its runs, on the validation split.
        kept: the challengers that go on, the best first.
        out: those that do not, the best first.
        failed: those that could not be trained, and why.
    """

    rung: Rung
    outcome: Outcome
    kept: list[str]
    out: list[str]
    failed: dict[str, str]


@dataclass(frozen=True)
class Advice:
    """What came out of a tournament.

    Attributes:
        planned: its plan.
        rungs: in order.
        final: on the test set.
        challenger: who met the baseline in it; None where no challenger could be trained.
        folder: where all of it is.
    """

    planned: Planned
    rungs: list[Held]
    final: Outcome
    challenger: str | None
    folder: Path

    @property
    def judged(self) -> Judged | None:
        """The claim that the challenger is better; None without one."""
        return self.final.judged[0] if self.final.judged else None

    @property
    def recommended(self) -> str:
        """The candidate that is recommended: the challenger where the claim is supported, else the baseline."""
        supported = self.judged is not None and self.judged.verdict.decision == "supported"
        return self.challenger if supported and self.challenger is not None else BASELINE

    @property
    def recipe(self) -> dict[str, Any]:
        """The recommended training."""
        taught = teaching(self.planned.question, self.folder / "teachers")
        question = self.planned.question
        changes = CANDIDATES[self.recommended].changes(question, question.epochs, taught)
        return dict(merged(self.planned.recipe, changes))

    def values(self, name: str, key: str) -> list[float]:
        """Return a figure of a candidate's runs in the final."""
        return list(self.final.values(figure(name, key)).values())


def figure(name: str, key: str) -> Figure:
    """Return a figure of a candidate, after the last epoch, of the student that counts."""
    student = CANDIDATES[name].student
    return Figure(key, "last", None if student == "student" else student, name)


def hold(planned: Planned, folder: Path, accelerator: str, command: str, hire: Hire, display: Display) -> Advice:
    """Make what is not finished of a tournament.

    Args:
        planned: its plan, which is written down.
        folder: where it goes.
        accelerator: of the runs.
        command: that asked for it.
        hire: returns who makes a study's runs.
        display: where progress goes.

    Raises:
        LimbeckError: the baseline or a teacher cannot be trained; the folder holds other runs; a file cannot be read
            or written.
    """
    question, recipe, schedule = planned.question, planned.recipe, planned.schedule
    taught = teaching(question, folder / "teachers")

    def made(study: Prepared, following: Path | None) -> Outcome:
        if following is not None and following.exists():  # what failed then is not tried again: it was decided upon
            return judge_runs(study, _failures(study.folder))
        return make(study, lambda: hire(study), display)

    if wanted := planned.needed_teachers:
        one = prepared("teachers", teachers(question, recipe, wanted), folder / "teachers", accelerator, command)
        outcome = made(one, None)
        if outcome.failures:
            raise LimbeckError(f"a teacher cannot be trained: {next(iter(outcome.failures.values()))}")
    names = list(schedule.challengers)
    places = [folder / f"rung-{number}.yaml" for number in range(1, len(schedule.rungs) + 1)] + [folder / "final.yaml"]
    rungs: list[Held] = []
    for rung, place, following in zip(schedule.rungs, places, places[1:], strict=False):
        if not names:
            break
        if not place.exists():
            entered = [BASELINE, *(name for name in CANDIDATES if name in names)]
            asked = contest(question, recipe, entered, taught, epochs=rung.epochs, seeds=rung.seeds, final=False)
            keep(asked, place)
        one = prepared(place.stem, read_study(str(place)).study, folder / place.stem, accelerator, command)
        rungs.append(halved(rung, made(one, following), question.by))
        names = rungs[-1].kept
    if not places[-1].exists():
        seeds = kept_seeds(schedule, slower(planned, rungs), question.budget)
        asked = contest(question, recipe, [BASELINE, *names], taught, epochs=schedule.epochs, seeds=seeds, final=True)
        keep(asked, places[-1])
    one = prepared("final", read_study(str(places[-1])).study, folder / "final", accelerator, command)
    challenger = next((cell.name for cell in one.cells if cell.name != BASELINE), None)
    final = made(one, None)
    if failed := _failed(final).get(BASELINE):
        raise LimbeckError(f"the baseline cannot be trained in the final: {failed}")
    return Advice(planned, rungs, final, challenger, folder)


def _failures(folder: Path) -> dict[str, str]:
    """Return why runs of a study failed, as its folder keeps it."""
    found = sorted((folder / "failures").glob("*.txt"))
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in found}


def _failed(outcome: Outcome) -> dict[str, str]:
    """Return the cells of which a run failed, and why."""
    return {
        cell.name: outcome.failures[run]
        for cell in outcome.cells
        for run in map(cell.run, cell.plans)
        if run in outcome.failures
    }


def halved(rung: Rung, outcome: Outcome, by: str) -> Held:
    """Decide who goes on from a rung.

    The mean of the figure over the seeds decides; equal ones are told apart by the NLL (by the error where the NLL is
    the figure), and then by the order of the candidates.

    Args:
        rung: as it was planned.
        outcome: of its runs, on the validation split.
        by: the figure.

    Raises:
        LimbeckError: the baseline could not be trained.
    """
    failed = _failed(outcome)
    if BASELINE in failed:
        raise LimbeckError(f"the baseline cannot be trained: {failed[BASELINE]}")
    keys = (by, "error" if by == "nll" else "nll")
    order = list(CANDIDATES)
    marks: dict[str, tuple[float, ...]] = {}
    for cell in outcome.cells:
        if cell.name == BASELINE or cell.name in failed:
            continue
        values = [outcome.values(figure(cell.name, key)) for key in keys]
        if any(len(value) < len(rung.seeds) for value in values):
            failed[cell.name] = f"its {by} is not finite"
            continue
        marks[cell.name] = (*(float(np.mean(list(value.values()))) for value in values), order.index(cell.name))
    ranked = sorted(marks, key=marks.__getitem__)
    return Held(rung, outcome, ranked[: rung.stay], ranked[rung.stay :], failed)


def slower(planned: Planned, rungs: Sequence[Held]) -> float:
    """Return how much longer the runs of rungs took than was planned, as a multiple; 1 where there are none."""
    took, thought = [], []
    for held in rungs:
        for name, by_seed in held.outcome.runs.items():
            took += [sum(seconds_of(made, shared=False)) for made in by_seed.values()]
            thought += [planned.costs[name].run(held.rung.epochs)] * len(by_seed)
    return math.fsum(took) / math.fsum(thought) if took else 1.0
