"""Who taught a finished run, as its folder says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.plain import recipe_of
from limbeck.teachers.teacher import TeacherChoice


def teacher_of(run: Path) -> TeacherChoice | None:
    """Return where a run's teacher is now; None where it had none.

    Raises:
        LimbeckError: the folder is no run's, or damaged; its teacher was a stage, and the folder does not say where.
    """
    given: Any = recipe_of(run).get("teacher")
    if given is None:
        return None
    taught = dict(given)
    if taught.get("stage") is not None:
        place = files.read_json(run / "environment.json").get("teacher_run")
        if place is None:
            raise LimbeckError(f"{run} does not say where its teacher is: it was trained by an earlier version")
        taught |= {"stage": None, "run": os.path.normpath(run / place)}
    try:
        choice: TeacherChoice = TypeAdapter(TeacherChoice).validate_python(taught)
    except ValidationError as error:
        raise LimbeckError(f"{run / 'recipe.yaml'} is damaged; remove its folder and train again") from error
    if choice.run is not None and not (Path(choice.run) / "results.json").exists():
        raise LimbeckError(f"the teacher of {run} is not in {choice.run} any more: put its folder back there")
    return choice


def lineage(run: Path) -> list[TeacherChoice]:
    """Return who led to a run, each taught by the one before, from the first teacher to the run's own.

    Raises:
        LimbeckError: as `teacher_of`; a teacher was no run.
    """
    found: list[TeacherChoice] = []
    while (choice := teacher_of(run)) is not None:
        if choice.run is None:
            named = choice.weights if choice.model is None else choice.model.name
            raise LimbeckError(f"the teacher of {run} is no run but {named}, whose answers no folder keeps")
        found.insert(0, choice)
        run = Path(choice.run)
    return found
