"""Stages and plans: what is trained, with what, for how long, and what it leaves behind for the next stage."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from limbeck.core.config import Index, Kinds, Named, configurable, fields_of
from limbeck.core.matcher import Matcher
from limbeck.core.writer import Relation, TargetWriter
from limbeck.data.choice import DataChoice, Splits
from limbeck.data.kinds import KINDS, kind_of
from limbeck.data.load import Data
from limbeck.errors import LimbeckError
from limbeck.matching import MATCHERS
from limbeck.models import ModelSpec, check_model
from limbeck.targets import METHODS, CrossEntropy
from limbeck.tasks import TASKS, Classification, EvaluatedTask
from limbeck.tasks.task import Setting
from limbeck.teachers.backbone import BackboneChoice, check_backbone, check_images
from limbeck.teachers.jobs import make_job
from limbeck.teachers.kept import asked_marks, check_which
from limbeck.teachers.matched import check_layers, check_matchers
from limbeck.teachers.record import record
from limbeck.teachers.relation import check_names, check_relation, check_same_classes, outline
from limbeck.teachers.replay import ReplayedTeacher, check_recurrence
from limbeck.teachers.sequences import check_translations
from limbeck.teachers.students import PeerChoice, one_of, specs
from limbeck.teachers.teacher import Model, TeacherChoice
from limbeck.train.job import Job
from limbeck.train.loop import Training
from limbeck.train.optimisers import OPTIMISERS, SGD, OptimiserChoice, check_kinds
from limbeck.train.progress import Display
from limbeck.train.rates import RATES, Cosine, Rate
from limbeck.train.run import run
from limbeck.train.runtime import Runtime


@configurable
class Stage:
    """One training: a network, its data, its method, and how long.

    Attributes:
        task: what is learned.
        data: examples, split and views.
        model: the network.
        backbone: whose stages a detector begins with.
        peers: more networks, trained together with it; each is a name, a mapping of name and options, or of `model` and
            an `optimiser` of its own.
        method: who writes the soft target.
        matchers: what representations are matched beside it, a list of names or of mappings of name and fields.
        teacher: who else answers, for methods and matchers that need one.
        optimiser: with its learning rate.
        schedule: of the learning rate.
        training: epochs, batch size and the like.
        seed: of the network's first weights, the order, the views (but for `data.view_seed`) and dropout.
    """

    data: Annotated[DataChoice, Kinds(KINDS, kind_of)]
    model: Model
    task: Annotated[EvaluatedTask, Named(TASKS)] = field(default_factory=Classification)
    backbone: BackboneChoice | None = None
    peers: tuple[PeerChoice, ...] = ()
    method: Annotated[TargetWriter, Named(METHODS)] = field(default_factory=CrossEntropy)
    matchers: tuple[Annotated[Matcher, Named(MATCHERS)], ...] = ()
    teacher: TeacherChoice | None = None
    optimiser: Annotated[OptimiserChoice, Named(OPTIMISERS)] = field(default_factory=SGD)
    schedule: Annotated[Rate, Named(RATES)] = field(default_factory=Cosine)
    training: Training = field(default_factory=Training)
    seed: Index = 0

    def __post_init__(self) -> None:
        for network in self.networks:
            check_model(network)
        check_kinds([self.optimiser, *(peer.optimiser or self.optimiser for peer in self.peers)])
        self._check_task()
        if self.backbone is not None and self.task.name != "detection":
            raise ValueError("backbone is what a detector begins with: set task to detection, or leave it out")
        if self.method.needs.held_out and not self.data.holds_out:
            raise ValueError("the method weighs its students by examples that none learns from: set data.held_out")
        if self.method.needs.validation and not self.data.validated:
            raise ValueError("the method stops by the validation error: set data.validation")
        try:
            self.method.check_epochs(self.training.last_epoch)
        except LimbeckError as error:
            raise ValueError(f"method.{error}") from error
        if self.training.trace and len(self.networks) > 1:
            raise ValueError("training.trace follows one student, and here are several: set it to false")
        if self.needs_teacher and self.teacher is None:
            who = "the method" if self.method.needs.teacher else "a matcher"
            raise ValueError(f"{who} needs a teacher: give teacher.run, teacher.weights or teacher.stage")
        if self.teacher is not None and not self.needs_teacher:
            raise ValueError(
                "a teacher is given and neither method nor matchers use one: remove it, or choose a method or matchers "
                "that do"
            )
        check_matchers(self.matchers, self.networks, self.method, self.teacher)
        if self.teacher is not None and self.teacher.cache is not None and isinstance(self.data, Data):
            check_recurrence(self.data, self.training.shuffle)
        if self.training.trace and self.data.mixes:
            raise ValueError(
                "training.trace sorts images by the probability of their class, and mixed ones have two: "
                "set training.trace to false, or data.mix to null"
            )
        for name in ("stop_accuracy", "keep_accuracies"):
            if getattr(self.training, name) not in {None, ()} and not self.data.validated:
                raise ValueError(f"training.{name} is read on the validation split: set data.validation")

    def _check_task(self) -> None:
        cached = self.teacher is not None and self.teacher.cache is not None
        setting = Setting(
            self.data, self.networks, self.method, self.matchers, cached, self.training.trace, self.training.shuffle
        )
        try:
            self.task.check(setting)
        except LimbeckError as error:
            raise ValueError(str(error)) from error

    @property
    def needs_teacher(self) -> bool:
        """Whether the method or a matcher wants one."""
        return self.method.needs.teacher or any(matcher.between == "teacher" for matcher in self.matchers)

    @property
    def networks(self) -> list[ModelSpec]:
        """Every network that is built: the model, as often as the method wants it, and its peers.

        Raises:
            ValueError: they are not what the method asks for.
        """
        return specs(self.model, self.peers, self.method)

    @property
    def relations(self) -> set[Relation]:
        """What the teacher must be beside the student, by the method and by the recipe."""
        return {self.method.needs.relation} | ({self.teacher.relation} if self.teacher else set())


@dataclass(frozen=True)
class Plan:
    """Stages by name, in order; a stage may be taught by an earlier one, and the last one is the student.

    Raises:
        LimbeckError: a stage's name cannot name a folder; a stage is taught by one that does not come before it or
            is not what the method or `teacher.relation` asks for; a stage has another precision than the last.
    """

    stages: dict[str, Stage]
    reference: dict[str, Any] | None = field(default=None, compare=False)  # numbers to reach; changes no result

    def __post_init__(self) -> None:
        seen: list[str] = []
        for name, stage in self.stages.items():
            if not re.fullmatch(r"[\w-]+", name):
                raise LimbeckError(f"stage {name!r}: a stage's name has letters, digits, - and _ only")
            taught_by = None if stage.teacher is None else stage.teacher.stage
            if taught_by is not None and taught_by not in seen:
                raise LimbeckError(f"stage {name!r} is taught by {taught_by!r}, which does not come before it")
            if stage.training.precision != self.student.training.precision:
                raise LimbeckError(
                    f"stage {name!r} has precision {stage.training.precision}, the last one "
                    f"{self.student.training.precision}: all stages of a recipe train in one"
                )
            if taught_by is not None:
                self._check_teacher(name, taught_by)
            check_translations(name, self.stages, seen)
            check_backbone(name, self.stages, seen)
            seen.append(name)

    def _check_teacher(self, name: str, taught_by: str) -> None:
        stage, teacher = self.stages[name], self.stages[taught_by]
        for relation in stage.relations:
            for network in stage.networks:
                check_names(relation, self._teaching(name), network, f"stage {name!r}")
        if stage.teacher is not None:
            check_which(stage.teacher.which, taught_by, teacher.training, teacher.data.validated, f"stage {name!r}")

    def _teaching(self, name: str) -> ModelSpec:
        """Return the network that teaches a stage.

        Raises:
            LimbeckError: the teacher's stage has several students, and it is not said which one; or no such one.
        """
        choice = self.stages[name].teacher
        assert choice is not None
        assert choice.stage is not None
        where = f"stage {name!r}: its teacher {choice.stage!r}"
        return one_of(self.stages[choice.stage].networks, choice.student, where, "teacher")

    @property
    def student(self) -> Stage:
        """The last stage."""
        return list(self.stages.values())[-1]

    def plain(self, upto: str) -> dict[str, Any]:
        """Return the recipe of a stage and those before it, as plain values."""
        names = list(self.stages)[: list(self.stages).index(upto) + 1]
        stages = {name: fields_of(self.stages[name]) for name in names}
        notes = {"reference": self.reference} if self.reference and len(names) == len(self.stages) else {}
        return notes | (stages[upto] if len(names) == 1 else {"stages": stages})

    def run(
        self, folder: Path, runtime: Runtime, display: Display, name: str | None = None, shared: bool = False
    ) -> dict[str, Any]:
        """Run all stages and return the last one's results.

        The last stage's run is in `folder`. The others' are beside it, in `stages/`, under the hash of what they
        depend on: every plan that has the same stage finds it there when it is done.
        """
        return run(self._last_job(folder, runtime, display, name), folder, runtime, display, shared)

    def record(self, folder: Path, runtime: Runtime, display: Display) -> ReplayedTeacher:
        """Fill the cache of the last stage's teacher, and return it; where it was stopped it goes on.

        Stages before the last are trained as `run` does, beside `folder`, in `stages/`.

        Raises:
            LimbeckError: the last stage's teacher has no cache, or the cache holds other answers.
        """
        choice = self.student.teacher
        if choice is None or choice.cache is None:
            raise LimbeckError("the last stage's teacher has no cache: set teacher.cache to a folder")
        job = self._last_job(folder, runtime, display, "teacher")
        assert isinstance(job.teacher, ReplayedTeacher)
        record(job.teacher, job.splits.train, job.training, job.seed, runtime, display)
        return job.teacher

    def _last_job(self, folder: Path, runtime: Runtime, display: Display, name: str | None) -> Job:
        """Run all stages but the last one, and return what that is made of."""
        folders: dict[str, Path] = {}
        place = folder.parent / "stages"
        loaded = self._loaded(runtime)
        *before, last = self.stages
        for stage_name in before:
            job = make_job(stage_name, self.stages[stage_name], loaded[stage_name], folders, place, runtime, display)
            asking = [choice for one in self.stages.values() for choice in (one.teacher, one.backbone)]
            keep = asked_marks(asking, stage_name)
            job = replace(job, written=self.plain(stage_name), keep=keep)
            folders[stage_name] = place / f"{stage_name}-{job.identity[:12]}"
            run(job, folders[stage_name], runtime, display, shared=True)
        job = make_job(name or last, self.stages[last], loaded[last], folders, place, runtime, display)
        return replace(job, written=self.plain(last))

    def check_classes(self, classes: Mapping[str, Sequence[str] | None]) -> None:
        """Check that every teacher among the stages knows the classes of its student.

        Args:
            classes: of the stages that are known so far; None where they are not.

        Raises:
            LimbeckError: one knows others.
        """
        for name, known in classes.items():
            teacher = self.stages[name].teacher
            if teacher is not None and teacher.stage is not None:
                check_same_classes(f"stage {name!r}", known, repr(teacher.stage), classes[teacher.stage])

    def _loaded(self, runtime: Runtime) -> dict[str, Splits]:
        """Return each stage's data, equal ones read once; refuse here what would only show after hours of training.

        Raises:
            LimbeckError: a teacher knows other classes; the classes are too few for a method; a network's size is not
                what is asked for.
        """
        read: dict[str, Splits] = {}
        loaded: dict[str, Splits] = {}
        for name, stage in self.stages.items():
            key = json.dumps(fields_of(stage.data), sort_keys=True)
            if key not in read:
                read[key] = stage.data.load(runtime.device)
            loaded[name] = read[key]
            classes = loaded[name].train.classes
            stage.method.check(len(classes))
            if stage.backbone is not None and (based := stage.backbone.stage) is not None:
                check_images(name, based, loaded[based].train, loaded[name].train)
            taught = None if stage.teacher is None or stage.teacher.stage is None else self._teaching(name)
            check_layers(stage.matchers, stage.networks, taught, loaded[name].train, f"stage {name!r}")
            self.check_classes({one: splits.train.classes for one, splits in loaded.items()})
            if taught is None:
                continue
            teaching, *learning = (outline(m, len(classes)) for m in (taught, *stage.networks))
            for network in learning:
                stage.task.check_teacher(teaching, network, f"stage {name!r}")
                for relation in stage.relations:
                    check_relation(relation, teaching, network, f"stage {name!r}")
        return loaded
