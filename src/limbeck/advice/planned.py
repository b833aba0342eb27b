"""The plan of a tournament: decided once, by what was measured, and written down before anything long begins."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from limbeck import files
from limbeck.advice.candidates import BASELINE, CANDIDATES, enter
from limbeck.advice.measure import Bench, measure
from limbeck.advice.question import WHERE, Question, base_of
from limbeck.advice.schedule import FEWEST_SEEDS, Challenger, Cost, Field, Schedule, decide, least, whole
from limbeck.core.config import fields_of
from limbeck.errors import LimbeckError
from limbeck.recipes.parse import parse, write
from limbeck.recipes.read import plan
from limbeck.train.folder import held
from limbeck.train.runtime import Runtime

FILE = "advice.yaml"
MEASURING = "measuring"


@dataclass(frozen=True)
class Planned:
    """A plan, as advice.yaml has it.

    Attributes:
        question: what was asked.
        recipe: of the full training, without a method.
        examples: how many to train on, held out for validation, and to test.
        left_out: candidates that do not take part, and why.
        costs: what a run of each candidate takes, the baseline first.
        teachers: seconds to train each teacher.
        jobs: runs at a time, with which that was measured.
        schedule: what is to be done.
    """

    question: Question
    recipe: dict[str, Any]
    examples: dict[str, int]
    left_out: dict[str, str]
    costs: dict[str, Cost]
    teachers: dict[str, float]
    jobs: int
    schedule: Schedule

    @property
    def needed_teachers(self) -> list[str]:
        """The teachers that the challengers need and that are to be trained."""
        wanted = {CANDIDATES[name].teacher for name in self.schedule.challengers}
        return [name for name in self.teachers if name in wanted]


def read_planned(folder: Path, question: Question) -> Planned | None:
    """Return the plan that a folder holds; None where it holds nothing yet.

    Raises:
        LimbeckError: it holds the answer to another question, or something else; the plan is damaged.
    """
    path = folder / FILE
    if not path.exists():
        # hidden are the lock, and what a killed writer left behind
        others = [one.name for one in sorted(folder.glob("[!.]*")) if one.name != MEASURING]
        if others:
            raise LimbeckError(f"{folder} holds other things ({others[0]}): choose another folder by --out")
        return None
    try:
        tree = parse(path.read_text(encoding="utf-8"), str(path))
        found = TypeAdapter(Planned).validate_python(tree)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise LimbeckError(f"{path} is damaged: remove {folder}, and ask again") from error
    if unknown := found.costs.keys() - CANDIDATES.keys():
        raise LimbeckError(f"{path} is of another version, with the candidate {min(unknown)}: ask in another folder")
    before, now = fields_of(found.question), fields_of(question)
    for key, value in now.items():
        if before[key] != value:
            raise LimbeckError(
                f"{folder} holds other advice ({key} is {before[key]} there and {value} here): "
                "choose another folder by --out, or remove this one"
            )
    return found


def write_planned(planned: Planned, folder: Path) -> None:
    """Write a plan into its folder.

    Raises:
        LimbeckError: it cannot be written.
    """
    files.write(folder / FILE, write(asdict(planned) | {"question": fields_of(planned.question)}))


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a tournament's folder; trial runs in it are gone afterwards, and so is all of it where no plan came into it.

    Raises:
        LimbeckError: another process holds it, or it cannot be written.
    """
    top, new = folder, not folder.exists()
    while new and not top.parent.exists():
        top = top.parent
    try:
        with held(folder, Runtime("cpu", devices=1, nodes=1)):
            shutil.rmtree(folder / MEASURING, ignore_errors=True)
            yield
    finally:
        shutil.rmtree(folder / MEASURING, ignore_errors=True)
        if new and not (folder / FILE).exists():
            shutil.rmtree(top, ignore_errors=True)


def decided(question: Question, bench: Bench, jobs: int) -> Planned:
    """Measure what the candidates take, and return the plan that makes the most of the budget.

    Args:
        question: it.
        bench: where trial runs are made.
        jobs: runs at a time.

    Raises:
        LimbeckError: the data, the networks or the budget do not allow a final with two seeds; says what would.
    """
    began = bench.clock()
    base = base_of(question)
    Runtime(bench.accelerator, devices=1, nodes=1, precision=plan(base.recipe, WHERE).student.training.precision)
    entered = enter(question, base)
    measured = measure(question, base, entered.names, bench)
    left_out = entered.left_out | {name: f"its trial run failed: {why}" for name, why in measured.failures.items()}
    names = [name for name in entered.names if name not in left_out]
    if names == [BASELINE]:
        raise LimbeckError(
            f"nothing to compare: {'; '.join(f'{one}: {why}' for one, why in measured.failures.items())}"
        )
    challengers = [Challenger(name, measured.costs[name], _trained(name, measured.teachers)) for name in names[1:]]
    field = Field(measured.costs[BASELINE], challengers, measured.teachers, question.epochs, jobs)
    spent = bench.clock() - began
    schedule = decide(field, question.seeds, question.budget - spent)
    if schedule is None:
        raise LimbeckError(_too_small(field, question, spent))
    short = "the budget does not reach"
    left_out |= {name: short for name in names[1:] if name not in schedule.challengers}
    costs = {name: measured.costs[name] for name in (BASELINE, *schedule.challengers)}
    # the validation split is in the place of the test set
    counts = {"train": base.splits.train.count, "validation": base.splits.test.count, "test": base.tested}
    return Planned(question, base.recipe, counts, left_out, costs, measured.teachers, jobs, schedule)


def _trained(name: str, teachers: dict[str, float]) -> str | None:
    """Return the teacher that a candidate needs, where it has to be trained."""
    teacher = CANDIDATES[name].teacher
    return teacher if teacher in teachers else None


def _too_small(field: Field, question: Question, spent: float) -> str:
    """Say what budget would do."""
    enough, all_in = (shown_time(seconds + spent, up=True) for seconds in (least(field), whole(field, question.seeds)))
    first = field.challengers[0].name
    taught = "the teacher and " if field.challengers[0].teacher else ""
    return (
        f"--budget {shown_time(question.budget)} is too small: {taught}a final of {FEWEST_SEEDS} seeds with "
        f"{question.epochs} epochs each, {first} against {BASELINE}, takes about {enough}; a tournament of all "
        f"{len(field.challengers)} with {question.seeds} seeds about {all_in}: raise it, or lower --epochs"
    )


def shown_time(seconds: float, up: bool = False) -> str:
    """Return seconds as --budget takes them, such as 90s, 12m or 1h30m; `up` rounds up to what can be told."""
    lift = 0.999999 if up else 0.5
    if seconds < 120:
        return f"{int(seconds + lift)}s"
    minutes = int(seconds / 60 + lift)
    if minutes < 120:
        return f"{minutes}m"
    return f"{minutes // 60}h" + (f"{minutes % 60}m" if minutes % 60 else "")
