"""What the tournament trains, as ordinary studies: teachers, rungs and the final."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck import files
from limbeck.advice.candidates import BASELINE, CANDIDATES, POOR, SHORT, Teaching
from limbeck.advice.question import Question, at_length
from limbeck.core.config import fields_of
from limbeck.recipes.parse import write
from limbeck.studies.cells import expand
from limbeck.studies.claims import read_claim
from limbeck.studies.make import Prepared
from limbeck.studies.study import Changes, Stated, Study

# of the teachers alone, so that a teacher of the student's kind begins with other weights than any student
TEACHER_SEED = 1000


def prepared(name: str, study: Study, folder: Path, accelerator: str, command: str) -> Prepared:
    """Return a study, checked whole.

    Raises:
        LimbeckError: a recipe of it is broken.
    """
    cells = expand(study, name)
    claims = [read_claim(stated, cells, name) for stated in study.claims]
    return Prepared(name, study, folder, cells, claims, accelerator, command)


def keep(study: Study, path: Path) -> None:
    """Write a study as `limbeck study` reads it.

    Raises:
        LimbeckError: the file cannot be written.
    """
    plain = fields_of(study) | {"claims": [stated.claim for stated in study.claims]}
    files.write(path, write({key: value for key, value in plain.items() if value not in (None, "", [], {})}))


def teachers(question: Question, recipe: Mapping[str, Any], names: Sequence[str]) -> Study:
    """Return the training of the teachers: "full", "short" or both, evaluated on the validation split.

    Args:
        question: whose teacher is a network.
        recipe: of the full training.
        names: of the teachers.
    """
    cells: dict[str, Changes] = {}
    for name in names:
        whole = at_length(recipe, teacher_epochs(question)[name], "validation")
        cells[name] = {"schedule": whole["schedule"], "training": whole["training"]}
        if name == "full":
            cells[name] = {"training": {"keep_epochs": [poor_epoch(question.epochs)]}}
    base = at_length(recipe, question.epochs, "validation") | {"model": question.teacher, "method": BASELINE}
    description = "The teachers, each trained once for all candidates and seeds."
    return Study(recipe=base, description=description, cells=cells, seeds=[TEACHER_SEED])


def teacher_epochs(question: Question) -> dict[str, int]:
    """Return how long each teacher is trained, by its name."""
    return {"full": question.epochs, "short": max(1, round(SHORT * question.epochs))}


def poor_epoch(epochs: int) -> int:
    """Return the epoch after which a teacher of so many is a poor one."""
    return max(1, round(POOR * epochs))


def teaching(question: Question, folder: Path) -> Teaching | None:
    """Return where the teachers are, or will be: in the folder of `teachers`, or where the question says."""
    if question.teacher is None:
        return None
    if isinstance(question.teacher, str):
        return Teaching(question.teacher, None, 1)
    runs = folder / "runs"
    full, short = (str(runs / f"{name}-seed{TEACHER_SEED}") for name in ("full", "short"))
    return Teaching(full, short, poor_epoch(question.epochs))


def contest(
    question: Question,
    recipe: Mapping[str, Any],
    names: Sequence[str],
    taught: Teaching | None,
    *,
    epochs: int,
    seeds: Sequence[int],
    final: bool,
) -> Study:
    """Return a rung, evaluated on the validation split, or the final, on the test set and with its claim.

    Args:
        question: it.
        recipe: of the full training.
        names: the candidates, the baseline first.
        taught: where the teachers are.
        epochs: of every training.
        seeds: of each candidate.
        final: whether it is the final.
    """
    cells: dict[str, Changes] = {name: CANDIDATES[name].changes(question, epochs, taught) for name in names}
    claims = []
    if final and len(names) > 1:
        student = CANDIDATES[names[1]].student
        figure = question.by if student == "student" else f"{student}:{question.by}"
        claims = [Stated(f"{figure}({names[1]}) < {question.by}({BASELINE})")]
    description = (
        "The final: the best challenger against the baseline, at full length, with seeds that chose nothing."
        if final
        else "A rung: short but complete trainings, evaluated on the validation split."
    )
    return Study(
        recipe=at_length(recipe, epochs, "test" if final else "validation"),
        description=description,
        cells=cells,
        seeds=list(seeds),
        claims=claims,
    )
