"""Where a study's runs are made: in this process, in several on this machine, or on a Ray cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.studies.here import Here
from limbeck.studies.schedule import Executor
from limbeck.train.progress import Display

if TYPE_CHECKING:
    from limbeck.studies.make import Prepared

PLACES = "here, processes, ray or ray://HOST:PORT"


def check_place(on: str, gpus_per_run: float) -> None:
    """Refuse a place that there is not.

    Raises:
        LimbeckError: says which there are.
    """
    if on not in {"here", "processes", "ray"} and not on.startswith("ray://"):
        raise LimbeckError(f"--on {on!r}: write {PLACES}")
    if gpus_per_run and not on.startswith("ray"):
        raise LimbeckError("--gpus-per-run shares the GPUs of a Ray cluster: add --on ray, or leave it out")


def cores() -> int:
    """Return how many cores this process may use; where the system does not tell, as macOS, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def executor(on: str, jobs: int | None, gpus_per_run: float, prepared: Prepared, display: Display) -> Executor:
    """Return who makes the runs of a study.

    Args:
        on: "here", "processes", "ray" or a Ray cluster's address, as `check_place` lets pass.
        jobs: runs at a time; None is one here, and as many as there is room for elsewhere.
        gpus_per_run: what a run takes of a GPU, on Ray.
        prepared: the study.
        display: where warnings go.

    Raises:
        LimbeckError: the cluster is not there, or Ray is not installed.
    """
    threads = prepared.study.threads
    if on.startswith("ray"):
        from limbeck.studies.cluster import Cluster

        return Cluster(on, jobs, gpus_per_run, threads)
    if on == "here" and (jobs or 1) == 1:
        return Here()
    from limbeck.studies.processes import Processes

    room = cores()
    wanted = jobs or max(1, room // threads)
    if wanted * threads > room:
        display.say(f"warning: {wanted} jobs of {threads} thread(s) share {room} core(s), and wait for each other")
    return Processes(wanted, threads, prepared.folder)
