"""From a checked stage to its job: data read, networks built, the teacher loaded."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from limbeck.core.config import fields_of
from limbeck.core.roles import Teacher as Answering
from limbeck.data.choice import Splits
from limbeck.data.load import Data
from limbeck.teachers.backbone import frozen_at_random, given, transfer
from limbeck.teachers.relation import check_relation
from limbeck.teachers.replay import replayed
from limbeck.teachers.sequences import written
from limbeck.teachers.students import build_students
from limbeck.teachers.teacher import Inputs, load_teacher, origin
from limbeck.train.job import Job, Origin
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

if TYPE_CHECKING:
    from limbeck.teachers.plan import Stage

FROZEN = "model.frozen keeps the batch norms of a backbone that begins at random: set backbone, or leave frozen out"


def make_job(
    name: str,
    stage: Stage,
    splits: Splits,
    folders: dict[str, Path],
    place: Path,
    runtime: Runtime,
    display: Display,
) -> Job:
    """Build what a stage names; translations that it learns from are written first.

    Args:
        name: what progress calls it.
        stage: it.
        splits: its data, read.
        folders: of the stages before it, by name.
        place: where stages are kept.
        runtime: devices and processes.
        display: where progress goes.
    """
    references = splits.train.fingerprint
    told = written(name, stage, splits, folders, place, runtime, display)
    splits = splits if told is None else told.splits
    train = splits.train
    inputs = Inputs(train.classes, train.shape[0], train.mean, train.std)
    choice = stage.teacher
    if choice is not None and choice.stage is not None:
        choice = replace(choice, stage=None, run=str(folders[choice.stage]))
    teacher = None if choice is None else load_teacher(choice, inputs).meet(inputs, runtime.device)
    networks = build_students(stage.networks, len(train.classes), train.shape[0], stage.seed)
    if teacher is not None:
        for relation, network in itertools.product(stage.relations, networks):
            check_relation(relation, teacher.net, network, name)
        for network in networks:
            stage.task.check_teacher(teacher.net, network, name)
    stands_on = _begun(stage, networks, inputs, folders)
    cohort = stage.method.cohort(networks)
    content = {"training data": train.fingerprint, "test data": splits.test.fingerprint}
    if splits.validation is not None:
        content["validation data"] = splits.validation.fingerprint
    if splits.held_out is not None:
        content["held-out data"] = splits.held_out.fingerprint
    if told is not None:
        content |= {"references": references, "translations": told.digest}
    if teacher is not None:
        content["teacher"] = teacher.fingerprint()
    if stands_on is not None:
        content["backbone"] = given(networks)
    answering: Answering | None = teacher
    if choice is not None and choice.cache is not None and teacher is not None:
        views = len(cohort.names) if stage.method.needs.own_views else 1
        assert isinstance(stage.data, Data)
        answering = replayed(choice, teacher, stage.data, train, stage.training.precision, views)
    plain = fields_of(stage)
    return Job(
        name=name,
        cohort=cohort,
        writer=stage.method,
        teacher=answering,
        matchers=stage.matchers,
        splits=splits,
        optimisers=[stage.optimiser, *(peer.optimiser or stage.optimiser for peer in stage.peers)],
        rate=stage.schedule,
        training=stage.training,
        seed=stage.seed,
        recipe=plain,
        written=plain,
        content=content,
        models=[plain["model"]] * stage.method.needs.copies + [*(peer["model"] for peer in plain["peers"])],
        taught_by=None if choice is None or teacher is None else origin(choice, teacher),
        teacher_run=None if choice is None or choice.run is None else Path(choice.run),
        task=stage.task,
        written_by=None if told is None else told.by,
        stands_on=stands_on,
        warnings=[FROZEN] if stands_on is None and any(map(frozen_at_random, stage.networks)) else [],
    )


def _begun(stage: Stage, networks: Sequence[nn.Module], inputs: Inputs, folders: Mapping[str, Path]) -> Origin | None:
    """Let detectors begin with what their stage says, and return where that comes from."""
    if (based := stage.backbone) is None:
        return None
    if based.stage is not None:
        based = replace(based, stage=None, run=str(folders[based.stage]))
    return transfer(based, networks, stage.networks, inputs)
