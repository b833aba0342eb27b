"""The networks of finished runs, one by one: each student, and of several also their ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.plain import recipe_of
from limbeck.report.compare import FinishedRun, read_runs
from limbeck.train.weights import read_weights


def read_students(run: Path) -> list[FinishedRun]:
    """Return a finished run's students in their order, and of several also their ensemble.

    Raises:
        LimbeckError: the folder is no finished run's, or it is damaged.
    """
    recipe_of(run)
    return read_runs([run])


def read_student(path: Path) -> FinishedRun:
    """Return one network: the student of RUN, or of several the one that RUN/student-1 (or RUN/ensemble) names.

    Raises:
        LimbeckError: as `read_students`; the run has several students and none is named, or none of that name.
    """
    named = not path.is_dir() and (path.parent / "results.json").exists()
    run = path.parent if named else path
    found = read_students(run)
    if not named and len(found) == 1:
        return found[0]
    chosen = [one for one in found if named and one.student == path.name]
    if not chosen:
        choices = ", ".join(str(run / one.student) for one in found)
        problem = f"there is no {path}" if named else f"{run} has several students"
        raise LimbeckError(f"{problem}: name one of {choices}")
    return chosen[0]


def path_of(student: FinishedRun) -> str:
    """Return how a user names a network: RUN, or RUN/student-1 where there are several."""
    return str(student.folder if student.student == "student" else student.folder / student.student)


def label_of(student: FinishedRun) -> str:
    """Return a network's name in pictures: its path, its architecture where it has peers, its method."""
    method = student.recipe["method"]["name"]
    number, peers = student.student.removeprefix("student-"), student.recipe.get("peers")
    if not peers or not number.isdecimal():
        return f"{path_of(student)} ({method})"
    models = [student.recipe["model"], *(peer["model"] for peer in peers)]
    return f"{path_of(student)} ({models[int(number)]['name']}, {method})"


def tested_on(student: FinishedRun) -> str:
    """Return the fingerprint of the images that a network was tested on.

    Raises:
        LimbeckError: environment.json does not say it.
    """
    content = student.environment.get("content")
    if not isinstance(content, dict) or "test data" not in content:
        raise LimbeckError(f"{student.folder / 'environment.json'} is damaged; remove its folder and train again")
    return str(content["test data"])


def check_same_test(students: Sequence[FinishedRun]) -> None:
    """Check that all were tested on the same images.

    Raises:
        LimbeckError: names two that were not.
    """
    for other in students[1:]:
        if tested_on(other) != tested_on(students[0]):
            first = students[0].folder
            raise LimbeckError(f"{first} and {other.folder} have different test sets: give runs with the same one")


def class_names(student: FinishedRun, classes: int) -> tuple[str, ...]:
    """Return the names of the classes that a network tells apart, from its weights file; of an ensemble, its first's.

    Numbers where no file says them.

    Args:
        student: the network.
        classes: how many there are.

    Raises:
        LimbeckError: the file is damaged.
    """
    known = [student.folder / f"{name}.safetensors" for name in (student.student, "student-0")]
    for path in known:
        if path.exists():
            names = tuple(json.loads(read_weights(path)[1].get("limbeck", "{}")).get("classes", ()))
            if len(names) == classes:
                return names
    return tuple(map(str, range(classes)))
