"""One run from its objects to its folder: train (or continue), evaluate once on the test set, write everything down."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from limbeck import files
from limbeck.core.cohort import Peers
from limbeck.core.comparison import Comparison
from limbeck.core.objective import Objective
from limbeck.core.roles import RecordedTeacher
from limbeck.core.shard import Shard
from limbeck.core.writer import Room
from limbeck.data.order import shard_of
from limbeck.data.siblings import lonely
from limbeck.errors import LimbeckError
from limbeck.matching import InheritExplore
from limbeck.metrics import TEMPERATURES, fit_temperature, summary
from limbeck.plain import predictions_file, recipe_of
from limbeck.tasks.classification import ENSEMBLE, Classification, Predictions, ensemble
from limbeck.train.again import make_up, with_kept
from limbeck.train.coders import learn_teacher
from limbeck.train.folder import claim, held
from limbeck.train.job import Job
from limbeck.train.kept import Keep, write_weights
from limbeck.train.loop import fit, predictions
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
        started = time.monotonic()
        keep = Keep(job.marks, folder if runtime.first else None, job.cohort.names, job.about)
        state, objective = _train(job, folder, runtime, display, keep)
        if objective.comparison is not None and runtime.first:
            _write_matchers(folder / "matchers.safetensors", objective.comparison)
        found = _finish(job, state, folder, runtime, time.monotonic() - started)
        found = with_kept(job, folder, runtime, found)
        if state.averaged is not None:
            job.cohort.load_state_dict(state.cohort.state_dict())
        runtime.barrier()
        return found


def _train(job: Job, folder: Path, runtime: Runtime, display: Display, keep: Keep) -> tuple[State, Objective]:
    """Train the job's networks to the end of its training, from where that stopped in the folder."""
    room = _room(job, folder, runtime)
    objective = Objective(
        job.cohort, job.writer, Classification(), job.teacher, room, job.matchers, job.splits.train.shape, job.seed
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
    view = torch.zeros(2, *train.shape, device=runtime.device)
    job.cohort.to(runtime.device).eval()
    try:
        with torch.no_grad():
            outputs = dict(zip(job.cohort.names, job.cohort((view,)), strict=True))
            recorded = isinstance(job.teacher, RecordedTeacher) and job.teacher.complete
            if job.teacher is not None and not recorded:
                outputs["the teacher"] = job.teacher(view)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        shape = "×".join(map(str, train.shape))
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LimbeckError(f"{job.name}: the network cannot read images of {shape}: {reason}") from error
    for name, output in outputs.items():
        if output.logits.ndim != 2 or output.logits.shape[1] != classes:
            found = output.logits.shape[-1] if output.logits.ndim == 2 else list(output.logits.shape)
            raise LimbeckError(f"{name} answers {found} logits for an image, the data have {classes} classes")


def _finish(job: Job, state: State, folder: Path, runtime: Runtime, seconds: float) -> dict[str, Any]:
    """Evaluate last and best weights on the test set, once, and write weights, predictions and results."""
    cohort, validation = state.cohort, job.splits.validation
    held_out = [] if validation is None else predictions(cohort, validation, runtime)
    last = predictions(cohort, job.splits.test, runtime)
    # without a validation split there is no best
    best_students = [_with(cohort.alone(i), kept["weights"]) for i, kept in enumerate(state.best)]
    best = predictions(Peers(best_students), job.splits.test, runtime) if best_students else []
    best_held_out = predictions(Peers(best_students), validation, runtime) if best_students and validation else []

    found: dict[str, Any] = {}
    for i, name in enumerate(cohort.names):
        found[name] = {"last": _figures(last[i], held_out[i] if held_out else None)}
        arrays = {"ids": last[i].ids, "labels": last[i].labels, "logits": last[i].logits}
        if best:
            found[name]["best"] = {"epoch": state.best[i]["epoch"], **_figures(best[i], best_held_out[i])}
            arrays |= {"best_logits": best[i].logits}
            arrays |= {f"validation_{key}": value for key, value in held_out[i]._asdict().items()}
        if runtime.first:
            write_weights(folder / f"{name}.safetensors", cohort.alone(i).state_dict(), job.about(i))
            if best:
                write_weights(folder / f"{name}-best.safetensors", state.best[i]["weights"], job.about(i))
            _write_predictions(folder, name, arrays)
    parameters = {name: _size(cohort.alone(i)) for i, name in enumerate(cohort.names)}
    if len(last) > 1 and ENSEMBLE not in found:
        together = ensemble(last)
        found[ENSEMBLE] = {"last": _figures(together, ensemble(held_out) if held_out else None)}
        arrays = together._asdict()
        if best:
            best_together = ensemble(best)
            found[ENSEMBLE]["best"] = _figures(best_together, ensemble(best_held_out))
            arrays |= {"best_logits": best_together.logits}
        parameters[ENSEMBLE] = _size(cohort)
        if runtime.first:
            _write_predictions(folder, ENSEMBLE, arrays)
    results = {"students": found, "epochs": state.epoch, "seconds_of_last_session": round(seconds, 1)}
    results["parameters"] = parameters
    if runtime.first:
        files.write(folder / "results.json", json.dumps(results, indent=2) + "\n")
    return results


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


def _size(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _write_predictions(folder: Path, name: str, arrays: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    files.write(folder / predictions_file(name), buffer.getvalue())


def _figures(test: Predictions, held_out: Predictions | None) -> dict[str, float]:
    """Return the test figures, and NLL and ECE after temperature scaling fitted on the validation split.

    A split that is answered without a mistake fits no temperature, and there are no scaled figures then.
    """
    figures = summary(test.logits, test.labels)
    if held_out is not None:
        temperature = fit_temperature(held_out.logits, held_out.labels)
        if temperature in TEMPERATURES:
            return figures
        scaled = summary(test.logits / np.float32(temperature), test.labels)
        figures |= {"temperature": temperature, "scaled_nll": scaled["nll"], "scaled_ece": scaled["ece"]}
    return figures


def _with(student: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(student)
    twin.load_state_dict(dict(weights))
    return twin
