"""One run from its objects to its folder: train (or continue), evaluate once on the test set, write everything down."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor

from limbeck import files
from limbeck.core.comparison import Comparison
from limbeck.core.objective import Objective
from limbeck.core.roles import RecordedTeacher
from limbeck.core.shard import Shard
from limbeck.core.writer import Room
from limbeck.data.order import shard_of
from limbeck.data.siblings import lonely
from limbeck.errors import LimbeckError
from limbeck.matching import InheritExplore
from limbeck.plain import recipe_of
from limbeck.train.again import make_up, with_kept
from limbeck.train.coders import learn_teacher
from limbeck.train.finish import finish
from limbeck.train.folder import claim, held
from limbeck.train.job import Job
from limbeck.train.kept import Keep
from limbeck.train.loop import fit
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime
from limbeck.train.state import State
from limbeck.train.weights import fingerprint, load_weights, read_weights


def run(job: Job, folder: Path, runtime: Runtime, display: Display, shared: bool = False) -> dict[str, Any]:
    """Train the job into `folder`, from where it stopped, and return the content of its results.json.

    A finished run is not trained again. Afterwards `job.cohort` holds the last weights (averaged ones, if kept). A
    `shared` folder that another process is writing is waited for.

    Raises:
        LimbeckError: the folder holds another recipe's run, or another process is writing it.
    """
    _check(job, runtime)
    with held(folder, runtime, display.say if shared else None):
        claim(job, folder, runtime)
        make_up(job, folder, runtime, display, _train)
        results = folder / "results.json"
        if results.exists():
            finished: dict[str, Any] = files.read_json(results)
            finished = with_kept(job, folder, runtime, finished)
            for i, name in enumerate(job.cohort.names):
                path = folder / f"{name}.safetensors"
                load_weights(job.cohort.alone(i), read_weights(path)[0], str(path))
            if job.training.trace and not recipe_of(folder)["training"]["trace"]:
                display.say(f"warning: {folder} is finished and has no trace; train it in another folder to get one")
            return finished
        if job.writer.needs.siblings and (alone := lonely(job.splits.train.labels, job.splits.train.classes)):
            display.say(f"warning: one training example only, which is its own sibling, in class {', '.join(alone)}")
        for warning in job.warnings:
            display.say(f"warning: {job.name}: {warning}")
        if runtime.first:
            job.task.keep(folder, job.splits.train)
        started = time.monotonic()
        keep = Keep(job.marks, folder if runtime.first else None, job.cohort.names, job.about)
        state, objective = _train(job, folder, runtime, display, keep)
        if objective.comparison is not None and runtime.first:
            _write_matchers(folder / "matchers.safetensors", objective.comparison)
        found = finish(job, state, folder, runtime, time.monotonic() - started)
        found = with_kept(job, folder, runtime, found)
        if state.averaged is not None:
            job.cohort.load_state_dict(state.cohort.state_dict())
        runtime.barrier()
        return found


def _train(job: Job, folder: Path, runtime: Runtime, display: Display, keep: Keep) -> tuple[State, Objective]:
    """Train the job's networks to the end of its training, from where that stopped in the folder."""
    room = _room(job, folder, runtime)
    objective = Objective(
        job.cohort, job.writer, job.task, job.teacher, room, job.matchers, job.splits.train.shape, job.seed
    )
    if takes := job.writer.describe():
        display.say(takes)
    with contextlib.ExitStack() as stack:
        if objective.comparison is not None:
            # also where training stops with an error: the networks may be a user's
            stack.callback(objective.comparison.close)
            for line in objective.comparison.describe():
                display.say(line)
            learn_teacher(objective.comparison, job, folder, runtime, display)
        state = fit(
            objective,
            job.splits.train,
            job.splits.validation,
            job.splits.held_out,
            optimisers=job.optimisers,
            rate=job.rate,
            training=job.training,
            seed=job.seed,
            runtime=runtime,
            display=display,
            folder=folder,
            name=job.name,
            keep=keep,
        )
    return state, objective


def _room(job: Job, folder: Path, runtime: Runtime) -> Room:
    """Say where this process may keep what its method remembers."""
    train, shuffle = job.splits.train, job.training.shuffle
    shard = None
    if shuffle != "global":
        stay = shard_of(train.count, runtime.shards(shuffle), runtime.rank)
        shard = Shard(shuffle, torch.from_numpy(train.ids[stay]))
    nodes = runtime.gather(runtime.fabric.node_rank)
    node, local_rank = runtime.fabric.node_rank, runtime.fabric.local_rank
    return Room(
        train.id_space,
        classes=len(train.classes),
        folder=folder,
        data=train.fingerprint,
        node=node,
        nodes=len(set(nodes)),
        local_rank=local_rank,
        local_world=nodes.count(node),
        shard=shard,
        steps=train.steps(job.training.batch_size),
    )


def _check(job: Job, runtime: Runtime) -> None:
    """Refuse what cannot be trained, before anything is written.

    Raises:
        LimbeckError: says which.
    """
    train, training = job.splits.train, job.training
    train.epoch(
        0,
        batch_size=training.batch_size,
        seed=0,
        rank=runtime.rank,
        world=runtime.world,
        parts=training.accumulate,
        shards=runtime.shards(training.shuffle),
    )
    classes = len(train.classes)
    job.writer.check(classes)
    job.writer.check_epochs(training.last_epoch)
    if job.writer.needs.validation and job.splits.validation is None:
        raise LimbeckError("the method stops by the validation error, and there is no validation split: hold one out")
    if training.keep_accuracies and job.splits.validation is None:
        raise LimbeckError("training.keep_accuracies are read on the validation split, and there is none: hold one out")
    if training.stop_accuracy is not None and job.splits.validation is None:
        raise LimbeckError("training.stop_accuracy is read on the validation split, and there is none: hold one out")
    known = [fingerprint(network) for network in job.cohort.parts]
    if len(set(known)) < len(known):
        twins = " and ".join(name for name, one in zip(job.cohort.names, known, strict=True) if known.count(one) > 1)
        raise LimbeckError(f"{twins} have the same weights, and nothing to teach each other: make each network anew")
    view, called = job.task.trial(train, runtime.device)
    job.cohort.to(runtime.device).eval()
    try:
        with torch.no_grad():
            outputs = dict(zip(job.cohort.names, job.cohort((view,)), strict=True))
            recorded = isinstance(job.teacher, RecordedTeacher) and job.teacher.complete
            if job.teacher is not None and not recorded:
                outputs["the teacher"] = job.teacher(view)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LimbeckError(f"{job.name}: the network cannot read {called}: {reason}") from error
    for name, output in outputs.items():
        if output.logits.ndim != 2 or output.logits.shape[1] != classes:
            found = output.logits.shape[-1] if output.logits.ndim == 2 else list(output.logits.shape)
            raise LimbeckError(f"{name} answers {found} logits for an image, the data have {classes} classes")


def _write_matchers(path: Path, comparison: Comparison) -> None:
    """Write what matchers have trained, and how they split the student's channels, of layers that the file names."""
    splits = [
        {"student": link.student, "layer": pair.student.path}
        | {part: f"matchers.{number}.{part}_channels_{i}" for part in ("inherit", "explore")}
        for number, link in enumerate(comparison.links)
        if isinstance(link.matcher, InheritExplore)
        for i, pair in enumerate(link.pairs)
    ]
    about = {"splits": splits, "links": comparison.describe()}
    state = {name: value for name, value in comparison.state_dict().items() if isinstance(value, Tensor)}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    files.write(path, safetensors.save(tensors, {"limbeck": json.dumps(about)}))
