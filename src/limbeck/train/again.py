"""Kept weights that an earlier training of the same run passed by, and what all kept weights say of the test set."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from limbeck import files
from limbeck.core.cohort import Peers
from limbeck.train.evaluation import answers
from limbeck.train.job import Job
from limbeck.train.kept import Keep, epoch_of, kept_file, missing
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime
from limbeck.train.weights import load_weights, read_weights

Train: TypeAlias = Callable[[Job, Path, Runtime, Display, Keep], object]


def make_up(job: Job, folder: Path, runtime: Runtime, display: Display, train: Train) -> None:
    """Train the beginning of a run once more, where it has passed marks without keeping their weights.

    That is the same training on the same machine, and on another one up to rounding, which is then said.

    Args:
        job: of the run; its networks are as they were built.
        folder: of the run.
        runtime: devices and processes.
        display: where progress goes.
        train: trains a job's networks in a folder.
    """
    again = folder / "again"
    known = runtime.gather(missing(job.marks, folder, job.cohort.names))[0]
    if not any(known):
        return
    epochs = {str(mark): epoch for lost in known for mark, epoch in lost.items()}
    last = max(epochs.values())
    display.say(f"{folder} went on without keeping {', '.join(epochs)}: training {last} epoch(s) of it again")
    if runtime.first and any(epoch <= len(read(again / "metrics.jsonl")) for epoch in epochs.values()):
        shutil.rmtree(again)
    runtime.barrier()
    training = replace(job.training, stop_epoch=last, stop_accuracy=None, keep_epochs=(), keep_accuracies=())
    twin = replace(job, cohort=copy.deepcopy(job.cohort), training=training)
    keep = Keep(job.marks, folder if runtime.first else None, job.cohort.names, job.about, known)
    train(twin, again, runtime, display, keep)
    if runtime.first:
        if not _alike(read(folder / "metrics.jsonl"), read(again / "metrics.jsonl")):
            display.say(
                f"warning: {', '.join(epochs)} of {folder} were trained again, and the numbers differ from the first "
                "time: on another machine, number of threads or version they are the same up to rounding only"
            )
        shutil.rmtree(again)
    runtime.barrier()


def _alike(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether the lines of a training agree with the beginning of another one's, in what both have."""
    return all(a[key] == b[key] for a, b in zip(first, second, strict=False) for key in a.keys() & b.keys())


def with_kept(job: Job, folder: Path, runtime: Runtime, results: dict[str, Any]) -> dict[str, Any]:
    """Return the results with the test figures of all kept weights, which are measured where they are not yet."""
    known, students = results.get("kept", {}), len(job.cohort.names)
    history = runtime.gather(read(folder / "metrics.jsonl"))[0]
    kept: dict[str, Any] = {}
    for i, name in enumerate(job.cohort.names):
        kept[name] = dict(known.get(name, {}))
        for mark in job.marks:
            epoch = epoch_of(mark, history, i, students)
            if epoch is not None and str(mark) not in kept[name]:
                path = kept_file(folder, name, mark)
                network = copy.deepcopy(job.cohort.alone(i))
                load_weights(network, read_weights(path)[0], str(path))
                (said,) = answers(job.task, Peers([network]), job.splits.test, runtime, full=True)
                kept[name][str(mark)] = {"epoch": epoch, **job.task.figures(said)}
    if not any(kept.values()) or kept == known:
        return results
    results = {**results, "kept": kept}
    if runtime.first:
        files.write(folder / "results.json", json.dumps(results, indent=2) + "\n")
    return results
