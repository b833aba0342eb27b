"""A study from its file to its verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.studies.account import Account
from limbeck.studies.cells import Cell, expand
from limbeck.studies.claims import Claim, read_claim
from limbeck.studies.here import Here
from limbeck.studies.orders import Event, Order
from limbeck.studies.outcome import Outcome, collect, judged
from limbeck.studies.schedule import Course, Executor, finished
from limbeck.studies.sources import check_sources
from limbeck.studies.study import Study, read_study
from limbeck.studies.writing import FILE, write_outcome
from limbeck.teachers.plan import Plan
from limbeck.train.folder import check_owner, held
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime


@dataclass(frozen=True)
class Prepared:
    """A study that has been read whole and checked; nothing has run.

    Attributes:
        name: of the study.
        study: it.
        folder: where it goes; its runs are in `runs/`.
        cells: of the grid.
        claims: about them.
        accelerator: of the runs.
        command: that makes it.
    """

    name: str
    study: Study
    folder: Path
    cells: list[Cell]
    claims: list[Claim]
    accelerator: str
    command: str

    @property
    def plans(self) -> dict[str, Plan]:
        """What is trained, by the run's name, seed by seed, so that a study that is stopped has whole seeds."""
        return {cell.run(seed): cell.plans[seed] for seed in self.study.seeds for cell in self.cells}

    @property
    def orders(self) -> dict[str, Order]:
        """The runs, by name."""
        return {
            name: Order(
                name,
                str(self.folder / "runs" / name),
                plan.plain(list(plan.stages)[-1]),
                self.study.threads,
                self.accelerator,
            )
            for name, plan in self.plans.items()
        }

    def course(self, display: Display) -> Course:
        """Return the runs, ready to be made.

        Raises:
            LimbeckError: the folder is not this study's, or a run in it is another one.
        """
        self._check_folder()
        return Course(self.orders, self.plans, display, self.name)

    def _check_folder(self) -> None:
        check_owner(self.folder, FILE)
        if not (self.folder / FILE).exists():
            return
        known = files.read_json(self.folder / FILE)
        name = known.get("name") if isinstance(known, dict) else None
        if name != self.name:
            raise LimbeckError(
                f"{self.folder} is the folder of another study ({name}, and this is {self.name}): choose another one "
                "by --out, or remove it"
            )


def prepare(
    file: str,
    folder: Path | None,
    overrides: Sequence[str],
    scale: str | None,
    accelerator: str,
    command: str,
) -> Prepared:
    """Read a study, and check every recipe and every claim of it.

    Raises:
        LimbeckError: says what is wrong, and in which cell or claim.
    """
    name, study = read_study(file)
    cells = expand(study, file, overrides, scale)
    claims = [read_claim(stated, cells, file) for stated in study.claims]
    return Prepared(name, study, folder or Path("studies") / name, cells, claims, accelerator, command)


def make(
    prepared: Prepared,
    executor: Callable[[], Executor],
    display: Display,
    publish: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Make what is not finished of a study, judge its claims, and write everything down: as runs end, and at the end.

    Args:
        prepared: the study.
        executor: returns who makes its runs; asked only where there are any to make.
        display: where progress goes.
        publish: writes the report of what there is; called after the study's own files, also where it is interrupted.

    Raises:
        LimbeckError: the folder holds another study's runs; data are missing; another process is making this study; a
            file cannot be read or written.
    """
    course = prepared.course(display)

    def write() -> Outcome:
        _write_failures(prepared.folder, course.failures, course.left)
        outcome = judge_runs(prepared, {name: event.text for name, event in course.failures.items()})
        write_outcome(outcome, prepared.folder)
        publish(outcome)
        return outcome

    account = Account(write)
    with ExitStack() as stack:
        maker = stack.enter_context(closing(executor() if course.trainings else Here()))
        if maker.reads_here:
            check_sources({name: prepared.plans[name] for name in course.left})
        stack.enter_context(held(prepared.folder, Runtime("cpu", devices=1, nodes=1)))
        try:
            if course.trainings:
                course.run(maker, account.renew)
        except KeyboardInterrupt:
            display.say(f"{prepared.name}: stopping; its report is written")
            raise
        finally:
            maker.close()  # so that no run ends while its report is written
            outcome = account.write()
        return outcome


def judge_runs(prepared: Prepared, failures: dict[str, str]) -> Outcome:
    """Return the verdicts on what is there."""
    runs = collect(prepared.cells, prepared.folder / "runs", failures)
    found = judged(prepared.study, prepared.cells, prepared.claims, runs, failures)
    return Outcome(prepared.name, prepared.study, prepared.cells, runs, failures, found, prepared.command)


def _write_failures(folder: Path, failures: Mapping[str, Event], left: Collection[str]) -> None:
    """Keep where each failure happened, and forget those of runs that have been made since, not of those left."""
    for old in (folder / "failures").glob("*.txt"):
        if old.stem not in left:
            old.unlink()
    for name, event in failures.items():
        files.write(folder / "failures" / f"{name}.txt", f"{event.text}\n{event.trace}")


def outline(prepared: Prepared) -> tuple[list[dict[str, str]], str]:
    """Return a row per cell, and one line that says how much is still to be trained; nothing is run."""
    orders = prepared.orders
    there = {name for name, order in orders.items() if finished(order)}
    rows = [
        {
            "cell": cell.name,
            "stages": " → ".join(next(iter(cell.plans.values())).stages),
            "epochs": str(sum(stage.training.last_epoch for stage in next(iter(cell.plans.values())).stages.values())),
            "finished": f"{sum(cell.run(seed) in there for seed in cell.plans)} of {len(cell.plans)}",
        }
        for cell in prepared.cells
    ]
    course = prepared.course(Display(silent=True))
    runs = len(orders) - len(there)
    shared = course.trainings - runs
    text = f"{len(orders)} runs of {len(prepared.cells)} cells, {len(there)} finished; to train: {runs} runs"
    text += f" and {shared} earlier stage(s), each once" if shared else ""
    text += f", {course.epochs:,} epochs in all" if runs else ""
    if there and runs and (seconds := _seconds_an_epoch(prepared, there)) is not None:
        text += f", about {max(1, math.ceil(seconds * course.epochs / 60))} min in one process"
    return rows, text


def _seconds_an_epoch(prepared: Prepared, there: set[str]) -> float | None:
    """Return what an epoch of a finished run took; None where they say nothing of it."""
    folders = [Path(order.folder) for name, order in prepared.orders.items() if name in there]
    found = [files.read_json(folder / "results.json") for folder in folders]
    epochs = sum(results["epochs"] for results in found)
    return sum(results["seconds_of_last_session"] for results in found) / epochs if epochs else None
