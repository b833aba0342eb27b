"""From a question to its advice, in a folder that is held meanwhile."""

from __future__ import annotations

from pathlib import Path

from limbeck.advice.measure import Bench, Hire
from limbeck.advice.planned import MEASURING, Planned, claimed, decided, read_planned, write_planned
from limbeck.advice.question import Question
from limbeck.advice.tournament import Advice, hold
from limbeck.studies.executors import executor
from limbeck.train.progress import Display


def planned_for(
    question: Question, folder: Path, accelerator: str, jobs: int, display: Display, dry: bool = False
) -> Planned:
    """Return the plan of a question: the one that its folder holds, or one that is decided and written there.

    Args:
        question: it.
        folder: of the tournament.
        accelerator: of the runs.
        jobs: runs at a time.
        display: where progress goes.
        dry: whether nothing is to be written.

    Raises:
        LimbeckError: the question cannot be answered within its budget, or at all; the folder holds something else.
    """
    known = read_planned(folder, question)
    if known is not None:
        return known
    with claimed(folder):
        bench = Bench(folder / MEASURING, accelerator, _hire(jobs, display), display)
        found = decided(question, bench, jobs)
        if not dry:
            write_planned(found, folder)
        return found


def advised(planned: Planned, folder: Path, accelerator: str, jobs: int, command: str, display: Display) -> Advice:
    """Hold a tournament as it is planned, or what is left of it, and return what came out.

    Raises:
        LimbeckError: the baseline or a teacher cannot be trained; another process is at it; the folder holds other
            runs; a file cannot be read or written.
    """
    with claimed(folder):
        return hold(planned, folder, accelerator, command, _hire(jobs, display), display)


def _hire(jobs: int, display: Display) -> Hire:
    return lambda study: executor("here", jobs, 0.0, study, display)
