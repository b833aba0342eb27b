"""Which weights of a stage or run teach: the last, the best, or ones that were kept from along the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.train.kept import Mark, errors_of, kept_file, read_mark
from limbeck.train.loop import Training
from limbeck.train.record import read


def _known(which: str) -> str:
    if which in {"last", "best"}:
        return which
    mark = read_mark(which)
    if mark is None:
        raise ValueError(f"must be last, best, epoch-N or accuracy-A, such as epoch-5 or accuracy-0.7; it is {which!r}")
    return str(mark)


Which = Annotated[str, AfterValidator(_known)]


def check_which(
    which: str, stage: str, training: Training, validation: float | int, where: str, field: str = "teacher"
) -> None:
    """Check that a stage will have the weights that teach another one.

    Args:
        which: weights.
        stage: the teacher's name.
        training: of the teacher.
        validation: how much of its examples the teacher holds out; 0 for none.
        where: how errors call the student.
        field: of the recipe, which asks for them.

    Raises:
        LimbeckError: it will not.
    """
    mark = read_mark(which)
    if not validation and (which == "best" or (mark is not None and mark.accuracy is not None)):
        raise LimbeckError(
            f"{where}: {field}.which is {which}, but stage {stage!r} has no validation split to "
            f"{'choose' if which == 'best' else 'read'} it on: set its data.validation, or take the last weights"
        )
    if mark is not None and mark.epoch is not None and mark.epoch > training.last_epoch:
        raise LimbeckError(
            f"{where}: {field}.which is {which}, but stage {stage!r} ends after {training.last_epoch} epochs: name an "
            "earlier one, or train it longer"
        )


def asked_marks(choices: Sequence[Any], stage: str) -> list[Mark]:
    """Return the marks at which students want the weights of a stage, given their teachers' choices."""
    wanted = [read_mark(choice.which) for choice in choices if choice is not None and choice.stage == stage]
    return [mark for mark in wanted if mark is not None]


def weights_file(run: Path, student: str, which: str) -> Path:
    """Return the file of a finished run's weights.

    Raises:
        LimbeckError: the run has none of these.
    """
    mark = read_mark(which)
    if mark is None:
        path = run / (f"{student}.safetensors" if which == "last" else f"{student}-best.safetensors")
        if not path.exists():
            raise LimbeckError(f"{run} has no {path.name}: it was trained without a validation split")
        return path
    results = files.read_json(run / "results.json")
    kept = results.get("kept", {}).get(student, {})
    path = kept_file(run, student, mark)
    if which in kept and path.exists():
        return path
    if mark.epoch is not None and mark.epoch > results["epochs"]:
        raise LimbeckError(f"{run} ended after {results['epochs']} epochs, and {which} is beyond: name an earlier one")
    if mark.accuracy is not None:
        _check_reached(run, student, mark.accuracy, len([name for name in results["students"] if name != "ensemble"]))
    field = f"keep_epochs=[{mark.epoch}]" if mark.epoch is not None else f"keep_accuracies=[{mark.accuracy:.12g}]"
    there = f"it has {', '.join(kept)}" if kept else "it has last and best alone"
    raise LimbeckError(
        f"{run} did not keep {which} ({there}): run what trained it with training.{field} as well, which adds it"
    )


def _check_reached(run: Path, student: str, accuracy: float, students: int) -> None:
    """Refuse an accuracy that a student of a run never had."""
    number = student.removeprefix("student-")
    index = int(number) if number.isdecimal() else 0
    errors = [found[index] for line in read(run / "metrics.jsonl") if (found := errors_of(line, students))]
    if not errors:
        raise LimbeckError(f"{run} was trained without a validation split: it has no accuracy to choose weights by")
    if min(errors) > 1 - accuracy:
        raise LimbeckError(
            f"{run} never reached accuracy {accuracy:.12g} on its validation split; its best was {1 - min(errors):.4g}"
            ": name a lower one"
        )
