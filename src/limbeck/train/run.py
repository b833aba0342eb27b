"""One run from its objects to its folder: train (or continue), evaluate once on the test set, write everything down."""

from __future__ import annotations

import copy
import fcntl
import hashlib
import io
import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from safetensors import torch as safetensors
from torch import Tensor, nn

from limbeck import files
from limbeck.core.cohort import Cohort, Peers
from limbeck.errors import LimbeckError
from limbeck.core.objective import Objective, TargetWriter, Teacher
from limbeck.data.load import Splits
from limbeck.metrics import fit_temperature, summary
from limbeck.plain import flat, last_stage
from limbeck.tasks.classification import Classification, Predictions
from limbeck.train.loop import Training, fit, predictions
from limbeck.train.optimisers import OptimiserChoice
from limbeck.train.progress import Display
from limbeck.train.rates import Rate
from limbeck.train.runtime import Runtime
from limbeck.train.state import State

EFFECTLESS = {
    "data.source.root",
    "data.workers",
    "teacher.run",
    "teacher.stage",
    "teacher.weights",
    "training.checkpoint_steps",
}
LIBRARIES = ("limbeck", "torch", "torchvision", "lightning-fabric", "numpy")


class Origin(NamedTuple):
    """Where a teacher comes from.

    Attributes:
        label: how tables call it.
        group: what it has in common with the same teacher trained from another seed.
    """

    label: str
    group: str


@dataclass(frozen=True)
class Job:
    """All that a run is made of.

    Attributes:
        name: what progress calls it.
        cohort: the networks to train.
        writer: who writes their targets.
        teacher: who else answers, already on the device, or None.
        splits: the data.
        optimiser: which, with its hyper-parameters.
        rate: the learning-rate schedule.
        training: how long and how.
        seed: of order, views and dropout; the networks were made with it as well.
        recipe: plain values that, together with data and teacher, say what the result is.
        written: what recipe.yaml shows: the recipe, with the stages before it.
        content: what else the result depends on (fingerprints), by name.
        model: how to build each student again, written into its weights file; None for a network of the user's own.
        taught_by: where the teacher comes from.
    """

    name: str
    cohort: Cohort
    writer: TargetWriter
    teacher: Teacher | None
    splits: Splits
    optimiser: OptimiserChoice
    rate: Rate
    training: Training
    seed: int
    recipe: dict[str, Any]
    written: dict[str, Any]
    content: dict[str, str]
    model: dict[str, Any] | None
    taught_by: Origin | None = None

    @property
    def identity(self) -> str:
        """The SHA-256 of what the result depends on: equal identity, equal result on the same machine."""
        return _digest([effective(self.recipe), self.content])

    @property
    def group(self) -> str:
        """The SHA-256 of what runs have in common that differ in their seed (and their teacher's) only."""
        recipe = {key: value for key, value in effective(self.recipe).items() if key != "seed"}
        content = self.content | ({} if self.taught_by is None else {"teacher": self.taught_by.group})
        return _digest([recipe, content])


def effective(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a recipe that change a result: neither where data lie, nor how a teacher was found."""
    return {key: value for key, value in flat(recipe).items() if key not in EFFECTLESS}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def students(cohort: Cohort) -> list[str]:
    """Return the students' names: files and results are called by them."""
    count = len(cohort.students)
    return ["student"] if count == 1 else [f"student-{i}" for i in range(count)]


def run(job: Job, folder: Path, runtime: Runtime, display: Display) -> dict[str, Any]:
    """Train the job into `folder`, from where it stopped, and return the content of its results.json.

    A finished run is not trained again. After it, `job.cohort` holds the last weights (averaged, where averaging is on).

    Raises:
        LimbeckError: the folder holds another recipe's run, or another process is writing it.
    """
    with _held(folder, runtime):
        _claim(job, folder, runtime)
        results = folder / "results.json"
        if results.exists():
            for name, student in zip(students(job.cohort), job.cohort.students, strict=True):
                student.load_state_dict(safetensors.load_file(folder / f"{name}.safetensors"))
            finished: dict[str, Any] = json.loads(results.read_text())
            return finished
        _check_outputs(job, runtime)
        objective = Objective(job.cohort, job.writer, Classification(), job.teacher, job.splits.train.id_space)
        started = time.monotonic()
        state = fit(
            objective,
            job.splits.train,
            job.splits.validation,
            optimiser=job.optimiser,
            rate=job.rate,
            training=job.training,
            seed=job.seed,
            runtime=runtime,
            display=display,
            folder=folder,
            name=job.name,
        )
        found = _finish(job, state, folder, runtime, time.monotonic() - started)
        if state.averaged is not None:
            job.cohort.load_state_dict(state.cohort.state_dict())
        runtime.barrier()
        return found


def _check_outputs(job: Job, runtime: Runtime) -> None:
    """Refuse a network that has not one logit per class, before it is trained."""
    classes = len(job.splits.train.classes)
    batch = next(iter(job.splits.train.in_order(2)))
    job.cohort.to(runtime.device).eval()
    with torch.no_grad():
        outputs = job.cohort(batch.views)
    for name, output in zip(students(job.cohort), outputs, strict=True):
        if output.logits.ndim != 2 or output.logits.shape[1] != classes:
            found = output.logits.shape[-1] if output.logits.ndim == 2 else list(output.logits.shape)
            raise LimbeckError(f"{name} answers {found} logits for an image, the data have {classes} classes")


def _finish(job: Job, state: State, folder: Path, runtime: Runtime, seconds: float) -> dict[str, Any]:
    """Evaluate last and best weights on the test set, once, and write weights, predictions and results."""
    names = students(state.cohort)
    validation = job.splits.validation
    held_out = [] if validation is None else predictions(state.cohort, validation, runtime)
    last = predictions(state.cohort, job.splits.test, runtime)
    best_students = [_with(student, best["weights"]) for student, best in zip(state.cohort.students, state.best, strict=False)]
    best = predictions(Peers(best_students), job.splits.test, runtime) if best_students else []
    best_held_out = predictions(Peers(best_students), validation, runtime) if best_students and validation else []

    found: dict[str, Any] = {}
    for i, name in enumerate(names):
        found[name] = {"last": _figures(last[i], held_out[i] if held_out else None)}
        arrays = {"ids": last[i].ids, "labels": last[i].labels, "logits": last[i].logits}
        if best:
            found[name]["best"] = {"epoch": state.best[i]["epoch"], **_figures(best[i], best_held_out[i])}
            arrays |= {"best_logits": best[i].logits}
            arrays |= {f"validation_{key}": value for key, value in held_out[i]._asdict().items()}
        if runtime.first:
            _write_weights(folder / f"{name}.safetensors", state.cohort.students[i].state_dict(), job)
            if best:
                _write_weights(folder / f"{name}-best.safetensors", state.best[i]["weights"], job)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            files.write(folder / f"predictions{name.removeprefix('student')}.npz", buffer.getvalue())
    results = {"students": found, "epochs": job.training.epochs, "seconds_of_last_session": round(seconds, 1)}
    results["parameters"] = {
        name: sum(p.numel() for p in student.parameters())
        for name, student in zip(names, state.cohort.students, strict=True)
    }
    if runtime.first:
        files.write(folder / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def _figures(test: Predictions, held_out: Predictions | None) -> dict[str, float]:
    """Return the test figures, and NLL and ECE after temperature scaling fitted on the validation split."""
    figures = summary(test.logits, test.labels)
    if held_out is not None:
        temperature = fit_temperature(held_out.logits, held_out.labels)
        scaled = summary(test.logits / np.float32(temperature), test.labels)
        figures |= {"temperature": temperature, "scaled_nll": scaled["nll"], "scaled_ece": scaled["ece"]}
    return figures


def _with(student: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(student)
    twin.load_state_dict(dict(weights))
    return twin


def _write_weights(path: Path, weights: Mapping[str, Tensor], job: Job) -> None:
    about = {
        "model": job.model,
        "classes": list(job.splits.train.classes),
        "channels": job.splits.train.shape[0],
        "mean": list(job.splits.train.mean),
        "std": list(job.splits.train.std),
    }
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}
    files.write(path, safetensors.save(tensors, {"limbeck": json.dumps(about)}))


def _claim(job: Job, folder: Path, runtime: Runtime) -> None:
    """Write recipe.yaml and environment.json into a new folder; refuse one that holds another recipe's run."""
    environment = folder / "environment.json"
    if environment.exists():
        known = json.loads(environment.read_text())
        if known["identity"] != job.identity:
            old = last_stage(yaml.safe_load((folder / "recipe.yaml").read_text()))
            raise LimbeckError(
                f"{folder} holds another run ({_difference(old, known['content'], job)}): choose another folder, or "
                "remove this one"
            )
    elif runtime.first:
        files.write(folder / "recipe.yaml", yaml.safe_dump(job.written, sort_keys=False, allow_unicode=True))
        files.write(environment, json.dumps(_environment(job, runtime), indent=2) + "\n")
    runtime.barrier()


def _difference(old: Mapping[str, Any], old_content: dict[str, str], job: Job) -> str:
    before, now = effective(old) | old_content, effective(job.recipe) | job.content
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            if key in job.content or key in old_content:
                return f"other {key}"
            return f"{key} is {before.get(key)} there and {now.get(key)} here"
    return "made by another version"


def _environment(job: Job, runtime: Runtime) -> dict[str, Any]:
    device = runtime.device
    return {
        "identity": job.identity,
        "group": job.group,
        "teacher": None if job.taught_by is None else job.taught_by.label,
        "content": job.content,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": runtime.world,
    }


@contextmanager
def _held(folder: Path, runtime: Runtime) -> Iterator[None]:
    """Hold the folder against a second run; the kernel lets go of it when the process dies, however it dies."""
    if not runtime.first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise LimbeckError(f"cannot write into {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LimbeckError(f"another process is writing {folder}; wait for it or choose another folder") from error
        yield
