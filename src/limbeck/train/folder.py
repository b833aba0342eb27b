"""A run's folder: held by one process, claimed by one recipe, with the environment written beside it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.plain import recipe_of
from limbeck.train.job import Job, effective
from limbeck.train.runtime import Runtime

ENVIRONMENT = "environment.json"
LIBRARIES = ("limbeck", "torch", "torchvision", "lightning-fabric", "numpy")


# which file tells whose a folder is
OWNERS = {"study.json": "a study", "tune.json": "a search", "advice.yaml": "an advice", ENVIRONMENT: "a run"}


def check_owner(folder: Path, own: str) -> None:
    """Refuse a folder that is of something else, whose files would be written over.

    Args:
        folder: it; it need not be there.
        own: the file of `OWNERS` that may be there.

    Raises:
        LimbeckError: the folder is of another kind.
    """
    for name, owner in OWNERS.items():
        if name != own and (folder / name).exists():
            raise LimbeckError(f"{folder} is the folder of {owner} ({name}): choose another one")


def claim(job: Job, folder: Path, runtime: Runtime) -> None:
    """Write recipe.yaml and environment.json into a folder that is new or where no run got as far as a checkpoint.

    Raises:
        LimbeckError: the folder holds another recipe's run.
    """
    environment = folder / ENVIRONMENT
    begun = (folder / "results.json").exists() or any((folder / "checkpoints").glob("*.pt"))
    if begun:
        known = files.read_json(environment)
        if known["identity"] != job.identity:
            raise LimbeckError(
                f"{folder} holds another run ({_difference(recipe_of(folder), known['content'], job)}): choose another "
                "folder, or remove this one"
            )
    else:
        check_owner(folder, ENVIRONMENT)
    if not begun and runtime.first:
        files.remove_unfinished(folder)
        files.write(folder / "recipe.yaml", yaml.safe_dump(job.written, sort_keys=False, allow_unicode=True))
        files.write(environment, json.dumps(_environment(job, folder, runtime), indent=2) + "\n")
    runtime.barrier()


def _difference(old: Mapping[str, Any], old_content: dict[str, str], job: Job) -> str:
    before, now = effective(old) | old_content, effective(job.recipe) | job.content
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            if key in job.content or key in old_content:
                return f"other {key}"
            return f"{key} is {before.get(key)} there and {now.get(key)} here"
    return "made by another version"


def _environment(job: Job, folder: Path, runtime: Runtime) -> dict[str, Any]:
    device = runtime.device
    # relative, so that runs and their stages can be moved together
    teacher = None if job.teacher_run is None else os.path.relpath(job.teacher_run, folder)
    return {
        "identity": job.identity,
        "group": job.group,
        "teacher": None if job.taught_by is None else job.taught_by.label,
        "teacher_run": teacher,
        "backbone": None if job.stands_on is None else job.stands_on.label,
        "content": job.content,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": runtime.world,
    }


@contextmanager
def held(folder: Path, runtime: Runtime, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the folder against a second run; the kernel lets go of it when the process dies, however it dies.

    Args:
        folder: of the run.
        runtime: devices and processes.
        waiting: told once that another process holds the folder, which is then waited for; without it that is an error.

    Raises:
        LimbeckError: another process holds the folder, or it cannot be written.
    """
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
            # of POSIX: unlike flock's, it is not inherited by workers, which may outlive a killed run by seconds
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            if waiting is None:
                raise LimbeckError(
                    f"another process is writing {folder}; wait for it or choose another folder"
                ) from error
            waiting(f"another process is writing {folder}: waiting for it")
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield
