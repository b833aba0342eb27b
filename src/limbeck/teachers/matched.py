"""Whether what a stage matches can be matched, said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.core.comparison import Comparison
from limbeck.core.matcher import Matcher
from limbeck.core.writer import TargetWriter
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec
from limbeck.teachers.relation import outline
from limbeck.teachers.teacher import TeacherChoice


def check_matchers(
    matchers: Sequence[Matcher], networks: Sequence[ModelSpec], method: TargetWriter, teacher: TeacherChoice | None
) -> None:
    """Check what can be said without the data.

    Raises:
        ValueError: matchers cannot stand beside the method, its students or the teacher; says which.
    """
    if not matchers:
        return
    if method.needs.copies > 1:
        raise ValueError(
            f"{type(method).__name__} makes its students of one network, and matchers compare several: leave them out"
        )
    if any(matcher.between == "peers" for matcher in matchers) and len(networks) < 2:
        raise ValueError("a matcher between peers needs at least two students: set peers, or between: teacher")
    if teacher is not None and teacher.cache is not None and any(one.between == "teacher" for one in matchers):
        raise ValueError("teacher.cache records answers, and matchers look at layers: leave it out, or the matchers")


def check_layers(
    matchers: Sequence[Matcher],
    networks: Sequence[ModelSpec],
    teacher: ModelSpec | None,
    train: Examples,
    where: str,
) -> None:
    """Choose and prepare the layers of networks without memory or weights.

    Raises:
        LimbeckError: layers that are not there or cannot be compared. Those of a teacher that is no stage of the
            recipe are seen when its weights are there.
    """
    known = [matcher for matcher in matchers if matcher.between == "peers" or teacher is not None]
    if not known:
        return
    students, taught = (
        [outline(model, len(train.classes), train.shape[0]) for model in models]
        for models in (networks, [] if teacher is None else [teacher])
    )
    try:
        Comparison(known, students, taught[0] if taught else None, train.shape, seed=0)
    except LimbeckError as error:
        raise LimbeckError(f"{where}: matchers: {error}") from error
