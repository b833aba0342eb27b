"""What runs took: their own seconds, and those of what had to be trained before them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from limbeck import files
from limbeck.studies.outcome import Made, Outcome


class Spent(NamedTuple):
    """What the runs of a candidate took, on average.

    Attributes:
        own: seconds of the run itself, with its peers.
        before: seconds of what had to be trained before it: its teacher, or its copy.
    """

    own: float
    before: float


def seconds_of(made: Made, shared: bool) -> Spent:
    """Return what a run took.

    Args:
        made: it.
        shared: whether what several studies have in common counts as well: a teacher with a run of its own.
    """
    environment, folder, before = made.environment, made.folder, 0.0
    stages = (made.folder.parent / "stages").resolve()
    while environment.get("teacher_run") is not None:
        folder = (folder / environment["teacher_run"]).resolve()
        # a teacher of another folder may have been moved away since
        if (not shared and folder.parent != stages) or not (folder / "results.json").exists():
            break
        before += _own(folder)
        environment = files.read_json(folder / "environment.json")
    return Spent(_own(made.folder), before)


def _own(folder: Path) -> float:
    return float(files.read_json(folder / "results.json").get("seconds_of_last_session", 0.0))


def spent(outcome: Outcome, name: str) -> Spent | None:
    """Return what a candidate's finished runs took on average, with their teacher; None where there are none."""
    found = [seconds_of(made, shared=True) for made in outcome.runs[name].values()]
    if not found:
        return None
    return Spent(float(np.mean([one.own for one in found])), float(np.mean([one.before for one in found])))


def taken(folder: Path) -> float:
    """Return the seconds of all finished trainings in a tournament's folder, one after the other."""
    return sum(_own(path.parent) for path in sorted(folder.rglob("results.json")))
