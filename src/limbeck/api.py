"""The quick start: one function for any network and any map-style data set."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from limbeck.core.cohort import Cohort
from limbeck.core.config import fields_of
from limbeck.core.matcher import Matcher
from limbeck.core.roles import Teacher as Answering
from limbeck.core.writer import TargetWriter
from limbeck.data.choice import Splits
from limbeck.data.own import own_splits
from limbeck.data.passes import Recurrence
from limbeck.data.readers import MapDataset
from limbeck.errors import LimbeckError
from limbeck.matching import MATCHERS
from limbeck.memory.formats import Precision
from limbeck.memory.logits import logits_format
from limbeck.plain import predictions_file
from limbeck.recipes.pieces import Cache, Choices, checked, described, read_matchers, read_method
from limbeck.targets import METHODS
from limbeck.tasks.classification import ENSEMBLE, Predictions
from limbeck.teachers.relation import check_relation
from limbeck.teachers.replay import with_cache
from limbeck.teachers.teacher import Inputs, Teacher, TeacherChoice, load_teacher, origin
from limbeck.train.job import Job, Origin
from limbeck.train.optimisers import SGD, OptimiserChoice
from limbeck.train.progress import Display
from limbeck.train.rates import Cosine, Rate
from limbeck.train.run import run
from limbeck.train.runtime import Runtime
from limbeck.train.weights import fingerprint


@dataclass(frozen=True)
class Result:
    """What `distil` gives back.

    Attributes:
        student: the network that was given, trained (its last weights; on the CPU, in eval mode).
        last: test figures of the last weights, unscaled: error, nll, ece, aurc ... (`limbeck.metrics`).
        best: test figures of the weights that were best on the validation split, with their epoch; None without one.
        predictions: ids, labels and logits of the test set, by the last weights.
        folder: the run's folder, or None when none was asked for.
        peers: the same of the networks that were trained together with it.
        ensemble: test figures of the mean of all their probabilities; None for one student alone.
    """

    student: nn.Module
    last: dict[str, float]
    best: dict[str, float | int] | None
    predictions: Predictions
    folder: Path | None
    peers: tuple[Result, ...] = ()
    ensemble: dict[str, float] | None = None


def distil(
    student: nn.Module,
    train: MapDataset,
    test: MapDataset,
    *,
    peers: Sequence[nn.Module] = (),
    method: str | Mapping[str, Any] | TargetWriter = "pskd",
    teacher: nn.Module | str | Path | None = None,
    matchers: Sequence[str | Mapping[str, Any] | Matcher] = (),
    epochs: int = 30,
    batch_size: int = 128,
    optimiser: str | Mapping[str, Any] | OptimiserChoice | None = None,
    schedule: str | Mapping[str, Any] | Rate | None = None,
    training: Mapping[str, Any] | None = None,
    validation: float | int | MapDataset = 0.1,
    held_out: float | int = 0,
    seed: int = 0,
    workers: int = 0,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    cache_dtype: Precision = "float32",
    cache_top_k: int | None = None,
    view_seed: int | None = None,
    cycle: int | None = None,
    accelerator: str = "auto",
    progress: bool = True,
) -> Result:
    """Train a network with any method, on any data, and say how it did.

    Args:
        student: maps images [B, C, H, W] to logits [B, K]; it is trained in place.
        train: map-style data set of (image, label); its random transforms become replayable.
        test: the same without random transforms; only ever used for the final report.
        peers: more networks that are trained together with the student, for methods by which students teach each other;
            they are trained in place, too.
        method: a name, a mapping as in a recipe (`{"name": "kd", "alpha": 0.9}`), or any `TargetWriter`, your own too.
        teacher: for methods that need one: a trained network with the same classes (it is frozen and moved to the
            device), or the folder of an earlier run, of one of several students as "FOLDER/student-1".
        matchers: what representations are matched, each a name, a mapping as in a recipe (`{"name": "at"}`), or any
            `Matcher`, your own too.
        epochs: passes over the training data.
        batch_size: examples per step.
        optimiser: SGD with learning rate 0.1 by default; a name, a mapping or an object.
        schedule: of the learning rate, a cosine by default; a name, a mapping or an object.
        training: more fields of `limbeck.train.loop.Training`, such as {"clip": 1.0, "ema": 0.99}.
        validation: how much of `train` is held out to choose the best epoch (a share, a count, 0 for none), or a data
            set of its own. What is held out passes through `train`'s own transforms.
        held_out: how much more of `train` is held out for methods that weigh their students by it (a share or a count).
        seed: of order, views and dropout.
        workers: processes that read the data.
        folder: where to keep the run; a run there is continued. Without it nothing is kept.
        cache: a folder where the teacher's logits are recorded when a view is first seen, and replayed whenever it
            comes again, in any run; needs `view_seed` and `cycle`.
        cache_dtype: of the recorded logits, "float32" or "float16".
        cache_top_k: record only so many of the largest logits; the other classes share evenly what these leave.
        view_seed: of the views, in place of `seed`, so that runs with other seeds see the same ones.
        cycle: epochs after which views come again; None never repeats them.
        accelerator: "auto", "cpu", "cuda" or "mps".
        progress: show it on standard error.

    Raises:
        LimbeckError: an argument or the data are not what they should be; the message says what to do.
    """
    settings = {"epochs": epochs, "batch_size": batch_size, **(training or {})}
    writer, matched = read_method(method), read_matchers(matchers)
    given = {"optimiser": optimiser or SGD(), "schedule": schedule or Cosine(), "training": settings, "seed": seed}
    choices = checked(Choices, given)
    recording = {"cache": None if cache is None else str(cache), "cache_dtype": cache_dtype, "cache_top_k": cache_top_k}
    kept = checked(Cache, recording | {"view_seed": view_seed, "cycle": cycle})
    looked_at = any(matcher.between == "teacher" for matcher in matched)
    if cache is not None and looked_at:
        raise LimbeckError("cache keeps a teacher's answers, and matchers look at its layers: leave one of them out")
    if cache is not None and teacher is None:
        raise LimbeckError("cache keeps a teacher's answers: give teacher= as well, or leave cache out")
    runtime = Runtime(accelerator, precision=choices.training.precision)
    splits = own_splits(train, test, validation, held_out, workers, runtime.device, Recurrence(view_seed, cycle))
    networks = _networks(student, peers, writer, splits)
    _check_apart(teacher, networks)
    taught, by = _teacher(teacher, writer.needs.teacher or looked_at, type(writer).__name__, splits, runtime.device)
    if taught is not None:
        for network in networks:
            check_relation(writer.needs.relation, taught.net, network, type(writer).__name__)
    name = type(student).__qualname__
    plain = fields_of(kept)
    data = {"source": type(train).__qualname__, **{field: plain.pop(field) for field in ("view_seed", "cycle")}}
    recipe: dict[str, Any] = {"data": data, "model": {"name": name}, "method": described(writer, METHODS)}
    recipe["matchers"] = [described(matcher, MATCHERS) for matcher in matched]
    recipe |= fields_of(choices) | {"teacher": None if taught is None else plain}
    content = _content(splits, networks, taught)
    views = len(networks) if writer.needs.own_views else 1
    answering = _answering(taught, kept, splits, choices.training.precision, views)
    cohort = writer.cohort(networks)
    optimisers = [choices.optimiser] * len(cohort.parts)
    job = Job(name, cohort, writer, answering, matched, splits, optimisers, choices.schedule,
              choices.training, choices.seed, recipe, recipe, content, [], by)  # fmt: skip
    with ExitStack() as stack:
        place = Path(folder) if folder is not None else _temporary(stack, runtime)
        display = stack.enter_context(Display(silent=not (progress and runtime.first)))
        figures = run(job, place, runtime, display)["students"]
        said = {name: _read(place / predictions_file(name)) for name in figures}
    return _result(cohort, figures, said, None if folder is None else place)


def _content(splits: Splits, networks: Sequence[nn.Module], teacher: Teacher | None) -> dict[str, str]:
    """Return the fingerprints of what a recipe does not say: data, networks, teacher."""
    content = {"training data": splits.train.fingerprint, "test data": splits.test.fingerprint}
    if splits.validation is not None:
        content["validation data"] = splits.validation.fingerprint
    for i, network in enumerate(networks):
        of = f" of peer {i}" if i else ""
        content[f"network{of}"] = hashlib.sha256(repr(network).encode()).hexdigest()
        content[f"first weights{of}"] = fingerprint(network)
    if teacher is not None:
        content["teacher"] = teacher.fingerprint()
    return content


def _answering(teacher: Teacher | None, kept: Cache, splits: Splits, precision: str, views: int) -> Answering | None:
    """Return who answers: the teacher, or what is recorded of its answers."""
    if teacher is None or kept.cache is None or kept.cycle is None:
        return teacher
    form, drawn = logits_format(kept.cache_dtype, kept.cache_top_k), {"view_seed": kept.view_seed}
    return with_cache(teacher, Path(kept.cache), form, splits.train, precision, kept.cycle, drawn, views)


def _result(cohort: Cohort, figures: Mapping[str, Any], said: Mapping[str, Predictions], folder: Path | None) -> Result:
    """Return what came of the first student, with its peers."""
    results = [
        Result(cohort.alone(i).cpu().eval(), figures[name]["last"], figures[name].get("best"), said[name], folder)
        for i, name in enumerate(cohort.names)
    ]
    together = figures[ENSEMBLE]["last"] if ENSEMBLE in figures else None
    return replace(results[0], peers=tuple(results[1:]), ensemble=together)


def _read(path: Path) -> Predictions:
    with np.load(path) as arrays:
        return Predictions(arrays["ids"], arrays["labels"], arrays["logits"])


def _networks(
    student: nn.Module, peers: Sequence[nn.Module], method: TargetWriter, splits: Splits
) -> Sequence[nn.Module]:
    """Return the networks to train, as many as the method wants."""
    name, needs = type(method).__name__, method.needs
    if not isinstance(peers, Sequence) or not all(isinstance(peer, nn.Module) for peer in peers):
        raise LimbeckError("peers is a list of networks (nn.Module)")
    if needs.copies > 1:
        raise LimbeckError(f"{name} makes its students of a network by name: write a recipe, and give limbeck train it")
    if 1 + len(peers) < needs.students:
        raise LimbeckError(
            f"{name} teaches at least {needs.students} students together: give the others as peers=[...]"
        )
    if needs.held_out and splits.held_out is None:
        raise LimbeckError(f"{name} weighs its students by examples that none learns from: give held_out=")
    return [student, *peers]


def _check_apart(teacher: object, networks: Sequence[nn.Module]) -> None:
    """Refuse a teacher that is no network of its own, before it is frozen.

    Raises:
        LimbeckError: it is neither a network nor a place, or shares a weight with a student.
    """
    if not isinstance(teacher, nn.Module | str | Path | None):
        raise LimbeckError("teacher is a network (nn.Module), or the folder of an earlier run")
    learned = {id(weight) for network in networks for weight in network.parameters()}
    if isinstance(teacher, nn.Module) and any(id(weight) in learned for weight in teacher.parameters()):
        raise LimbeckError("the teacher shares weights with a student, and it is frozen: give copy.deepcopy(teacher)")


def _temporary(stack: ExitStack, runtime: Runtime) -> Path:
    """Return one folder for all processes, removed at the end with what is written beside it."""
    own = stack.enter_context(tempfile.TemporaryDirectory())
    stack.callback(runtime.barrier)
    return Path(runtime.gather(own)[0]) / "run"


def _teacher(
    teacher: nn.Module | str | Path | None, wanted: bool, method: str, splits: Splits, device: torch.device
) -> tuple[Teacher | None, Origin | None]:
    if wanted and teacher is None:
        raise LimbeckError(f"{method} or a matcher needs a teacher: give teacher=")
    if not wanted and teacher is not None:
        raise LimbeckError(f"{method} uses no teacher, and neither does a matcher: leave teacher= out")
    if teacher is None:
        return None, None
    data = splits.train
    inputs = Inputs(data.classes, data.shape[0], data.mean, data.std)
    if isinstance(teacher, nn.Module):
        named = type(teacher).__qualname__
        found = Teacher(teacher, name=named).meet(inputs, device)
        return found, Origin(named, found.fingerprint())
    place = Path(teacher)
    number = place.name.removeprefix("student-")
    choice = TeacherChoice(run=str(place))
    if place.name.startswith("student-") and number.isdecimal() and not place.is_dir():
        choice = TeacherChoice(run=str(place.parent), student=int(number))
    found = load_teacher(choice, inputs).meet(inputs, device)
    return found, origin(choice, found)
