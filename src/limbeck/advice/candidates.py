"""Who may take part: methods at the hyper-parameters of their papers, and what each of them needs.

Nothing is tuned. KD and what is built on it have the usual values of KD's benchmarks, PS-KD and CS-KD those of their
authors' code, Tf-KD reg the α and T of its code by the paper's reading, Tf-KD self those of KD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from limbeck.advice.question import Base, Question
from limbeck.data.choice import Splits
from limbeck.data.siblings import lonely
from limbeck.errors import LimbeckError, nearest
from limbeck.plain import recipe_of
from limbeck.recipes.parse import merged
from limbeck.recipes.read import plan
from limbeck.teachers.matched import check_layers
from limbeck.teachers.teacher import Inputs, TeacherChoice, load_teacher, read_model, students_of

BASELINE = "cross_entropy"
KD = {"name": "kd", "alpha": 0.9, "temperature": 4.0}
# shares of the teacher's epochs
SHORT, POOR = 0.25, 0.05


class Teaching(NamedTuple):
    """Where the teachers are.

    Attributes:
        full: the run of the teacher.
        short: the run of one that has a schedule of a quarter as many epochs; None where there is none.
        poor: the epoch of the full one's training after which it is a poor teacher.
    """

    full: str
    short: str | None
    poor: int


@dataclass(frozen=True)
class Candidate:
    """A way to train the student.

    Attributes:
        name: of its cells.
        about: what it is, with its hyper-parameters and where these come from.
        method: who writes the target.
        teacher: which teacher it needs: "full", or "short" as well.
        which: of the full teacher's weights.
        matchers: beside the method.
        twin: whether another network like the student learns with it.
        copy: whether a copy of the student is trained first, to teach it.
        until: the share of the student's epochs after which the teacher's term ends; None for none.
    """

    name: str
    about: str
    method: Mapping[str, Any]
    teacher: Literal["full", "short"] | None = None
    which: Literal["last", "poor"] = "last"
    matchers: tuple[str, ...] = field(default=())
    twin: bool = False
    copy: bool = False
    until: float | None = None

    @property
    def student(self) -> str:
        """What the claims call the student that counts."""
        return "student-0" if self.twin else "student"

    def changes(self, question: Question, epochs: int, teaching: Teaching | None) -> dict[str, Any]:
        """Return what it changes of the recipe that all candidates share, in a training of so many epochs."""
        method = dict(self.method)
        if self.until is not None:
            method["stop"] = {"name": "epoch", "epoch": max(1, round(self.until * epochs))}
        changes: dict[str, Any] = {"method": method}
        if self.twin:
            changes["peers"] = [{"model": question.student}]
        if self.copy:
            student = {"teacher": {"stage": "copy", "relation": "same"}}
            changes["stages"] = {"copy": {"method": BASELINE}, "student": student}
        if self.matchers:
            changes["matchers"] = [{"name": name} for name in self.matchers]
        if self.teacher is not None and teaching is not None:
            run = teaching.short if self.teacher == "short" else teaching.full
            which = f"epoch-{teaching.poor}" if self.which == "poor" else "last"
            changes["teacher"] = {"run": run, "which": which}
        return changes


# The order is that in which they are left out where a budget does not reach, the last one first.
CANDIDATES = {
    one.name: one
    for one in (
        Candidate(BASELINE, "labels alone: the baseline", {"name": BASELINE}),
        Candidate("kd", "KD, α 0.9, T 4: the usual values of its benchmarks", KD, "full"),
        Candidate(
            "label_smoothing",
            "label smoothing, ε 0.1: as Szegedy et al.",
            {"name": "label_smoothing", "epsilon": 0.1},
        ),
        Candidate("pskd", "PS-KD, α 0.8: as its authors' code on CIFAR-100", {"name": "pskd", "alpha": 0.8}),
        Candidate("kd_at", "KD, and AT with β 1000: as AT's authors' code", KD, "full", matchers=("at",)),
        Candidate("cskd", "CS-KD, λ 1, T 4: as its authors' code", {"name": "cskd", "weight": 1.0, "temperature": 4.0}),
        Candidate(
            "tfkd_self",
            "Tf-KD self, α 0.9, T 4: KD from its own trained copy",
            {"name": "tfkd_self", "alpha": 0.9, "temperature": 4.0},
            copy=True,
        ),
        Candidate(
            "tfkd_reg",
            "Tf-KD reg, α 0.1, T 20: of its code, by the paper's reading",
            {"name": "tfkd_reg", "alpha": 0.1, "temperature": 20.0},
        ),
        Candidate("kd_until", "KD for 30 % of the epochs, then labels alone: as ESKD", KD, "full", until=0.3),
        Candidate("kd_short", "KD from a teacher with a quarter of the epochs: as ESKD", KD, "short"),
        Candidate(
            "dml",
            "DML with a twin, λ 1, T 1: as its paper",
            {"name": "dml", "weight": 1.0, "temperature": 1.0},
            twin=True,
        ),
        Candidate(
            "kdcl",
            "KDCL with a twin, min-logit, λ 1, T 2: as its paper on CIFAR-100",
            {"name": "kdcl", "ensemble": "minlogit", "weight": 1.0, "temperature": 2.0},
            twin=True,
        ),
        Candidate("kd_ft", "KD, and FT with β 500: as FT's authors' code", KD, "full", matchers=("ft",)),
        Candidate("dekd", "KD from the teacher as it was after 5 % of its epochs: De-KD", KD, "full", which="poor"),
    )
}


class Entered(NamedTuple):
    """Who takes part, and why others do not.

    Attributes:
        names: the baseline first, then in the order of `CANDIDATES`.
        left_out: why not, by name.
    """

    names: list[str]
    left_out: dict[str, str]


def enter(question: Question, base: Base) -> Entered:
    """Return the candidates that apply to a question; nothing is trained.

    Raises:
        LimbeckError: a candidate that there is not is asked for; a finished teacher cannot teach these data; no
            candidate is left beside the baseline.
    """
    asked = question.methods
    for name in asked or ():
        if name not in CANDIDATES:
            raise LimbeckError(f"--methods: there is no candidate {name!r}{nearest(name, CANDIDATES)}")
    if isinstance(question.teacher, str):
        _check_teacher(question.teacher, base.splits)
    left_out = {}
    for name, candidate in CANDIDATES.items():
        if name == BASELINE:
            continue
        why = "not asked for" if asked is not None and name not in asked else _unfit(candidate, question, base)
        if why:
            left_out[name] = why
    names = [name for name in CANDIDATES if name not in left_out]
    if names == [BASELINE]:
        wanted = [f"{name}: {why}" for name, why in left_out.items() if why != "not asked for"]
        raise LimbeckError(f"nothing to compare: no candidate is left ({'; '.join(wanted) or 'none was asked for'})")
    return Entered(names, left_out)


def _check_teacher(run: str, splits: Splits) -> None:
    """Refuse a finished run that cannot teach these data."""
    if len(students_of(Path(run))) > 1:
        raise LimbeckError(f"--teacher {run} has several students: give the run of one network")
    train = splits.train
    inputs = Inputs(train.classes, train.shape[0], train.mean, train.std)
    try:
        load_teacher(TeacherChoice(run=run), inputs).meet(inputs, torch.device("cpu"))
    except LimbeckError as error:
        raise LimbeckError(f"--teacher {run} cannot teach these data: {error}") from error


def _unfit(candidate: Candidate, question: Question, base: Base) -> str:
    """Say why a candidate does not apply; nothing where it does."""
    given = question.teacher
    if candidate.teacher is not None and given is None:
        return "needs a teacher: give --teacher"
    if isinstance(given, str) and candidate.teacher == "short":
        return "needs a teacher of a shorter training, and a finished run is given: name a network instead"
    if isinstance(given, str) and candidate.which == "poor":
        return "needs the teacher as it was early on, and a finished run is given: name a network instead"
    train = base.splits.train
    alone = lonely(train.labels, train.classes)
    if candidate.method["name"] == "cskd" and alone:
        return f"needs two examples of each class, and there is one of {', '.join(alone[:3])}"
    teaching = None if given is None else Teaching("teacher", "teacher", 1)
    try:
        stage = plan(
            merged(base.recipe, candidate.changes(question, question.epochs, teaching)), candidate.name
        ).student
        stage.method.check(len(train.classes))
        if given is not None and stage.matchers:
            teacher = read_model(recipe_of(Path(given))["model"] if isinstance(given, str) else given)
            check_layers(stage.matchers, stage.networks, teacher, train, candidate.name)
    except LimbeckError as error:
        return str(error)
    return ""
