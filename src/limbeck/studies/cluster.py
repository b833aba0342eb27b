"""Runs on a Ray cluster: each a task of its own, with its share of the cores and of the GPUs.

The study's folder must be on a disk that every machine of the cluster sees under the same path, and `limbeck` installed
on each of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import warnings
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.studies.orders import Event, Order, Report, execute
from limbeck.studies.schedule import Executor

PAUSE = 0.5
PATIENCE = 5.0


class Cluster(Executor):
    """Makes runs as tasks of Ray.

    Args:
        address: "ray" is the cluster of the variable RAY_ADDRESS, or one of this machine alone; or "ray://HOST:PORT".
        jobs: how many tasks at a time; None is as many as there is room for.
        gpus_per_run: what a run takes of a GPU; 0 computes on the CPU.
        threads: of each run, which takes so many cores.

    Raises:
        LimbeckError: Ray is not installed, or the cluster is not there or has less than one run needs.
    """

    reads_here = False

    def __init__(self, address: str, jobs: int | None, gpus_per_run: float, threads: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise LimbeckError("--on ray needs Ray: pip install 'limbeck[ray]'") from error
        self._ray: Any = ray
        self._gpus = gpus_per_run
        _connect(self._ray, address)
        wanted = {kind: amount for kind, amount in (("CPU", threads), ("GPU", gpus_per_run)) if amount}
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(has.get(kind, 0) >= amount for kind, amount in wanted.items()) for has in machines):
            self._ray.shutdown()
            needs = " and ".join(f"{amount:g} {kind}(s)" for kind, amount in wanted.items())
            mend = (
                "lower --gpus-per-run or the study's threads, or join a cluster that has them by --on ray://HOST:PORT"
            )
            raise LimbeckError(f"a run needs {needs}, and no machine of the Ray cluster has them: {mend}")
        self._limit = jobs or 10**6
        self._board = self._ray.remote(num_cpus=0)(_Board).remote()
        self._task = self._ray.remote(num_cpus=threads, num_gpus=gpus_per_run, max_retries=0)(_execute)
        self._running: dict[Any, Order] = {}

    @property
    def free(self) -> bool:
        """Whether another task may be handed over; Ray keeps those for which there is no room yet."""
        return len(self._running) < self._limit

    def start(self, order: Order, report: Report) -> None:
        """Hand a run to the cluster."""
        accelerator = "cpu" if order.accelerator == "auto" and not self._gpus else order.accelerator
        whole = order._replace(folder=str(Path(order.folder).absolute()), accelerator=accelerator)
        self._running[self._task.remote(tuple(whole), str(Path.cwd()), self._board)] = order

    def wait(self, report: Report) -> None:
        """Report what the tasks say."""
        ended, _ = self._ray.wait(list(self._running), timeout=PAUSE)
        for event in self._ray.get(self._board.take.remote()):
            report(Event(*event))
        for task in ended:
            order = self._running.pop(task)
            report(self._ended(task, order))

    def _ended(self, task: Any, order: Order) -> Event:
        """Return how a run ended."""
        try:
            event = Event(*self._ray.get(task))
        except self._ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            memory = "ran out of memory: " if isinstance(error, self._ray.exceptions.OutOfMemoryError) else ""
            return Event(
                order.name, "failed", f"{memory}its Ray task died: {lines[-1].strip()}"[:300], trace=str(error)
            )
        if event.kind == "done" and not (Path(order.folder) / "results.json").exists():
            folder = Path(order.folder).absolute()
            why = f"{folder} is not here: the machines of the cluster and this one must share the study's folder"
            return event._replace(kind="failed", text=why)
        return event

    def close(self) -> None:
        """Stop the tasks, and leave the cluster."""
        if not self._ray.is_initialized():
            return
        for task in self._running:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)
        self._running = {}
        self._ray.shutdown()


class _Board:
    """Where tasks leave their events until they are taken."""

    def __init__(self) -> None:
        self._events: list[tuple[Any, ...]] = []

    def put(self, event: tuple[Any, ...]) -> None:
        self._events.append(event)

    def take(self) -> list[tuple[Any, ...]]:
        taken, self._events = self._events, []
        return taken


def _execute(order: tuple[Any, ...], place: str, board: Any) -> tuple[Any, ...]:
    """Make a run in a task, and return its last event; the others go to the board."""
    if Path(place).is_dir():
        os.chdir(place)  # a recipe may name data by a path that begins here
    last: list[Event] = []

    def report(event: Event) -> None:
        if event.kind in {"done", "failed"}:
            last.append(event)
        else:
            board.put.remote(tuple(event))

    execute(Order(*order), report)
    return tuple(last[0])


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        LimbeckError: it does not answer.
    """
    told = os.environ.get("RAY_ADDRESS", "") if address == "ray" else address
    if found := re.fullmatch(r"(?:ray://)?(\[?[\w.:-]+?\]?):(\d+)", told):
        _probe(found[1].strip("[]"), int(found[2]), told)  # Ray itself would wait for minutes
    elif told not in {"", "local", "auto"}:
        raise LimbeckError(f"{told!r} is no address of a Ray cluster: write ray://HOST:PORT")
    try:
        with warnings.catch_warnings(action="ignore"):  # Ray warns of what it raises as well
            ray.init(
                told or "local",
                log_to_driver=False,
                logging_level="ERROR",
                **({"include_dashboard": False} if told in {"", "local"} else {}),
            )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        hint = "; is Ray's token (RAY_AUTH_TOKEN) that of the cluster, and its version the same?" if told else ""
        raise LimbeckError(f"cannot use the Ray cluster {told or 'of this machine'}: {line}{hint}") from error


def _probe(host: str, port: int, told: str) -> None:
    started = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        after = f" within {PATIENCE:g} s" if time.monotonic() - started > PATIENCE - 1 else ""
        raise LimbeckError(
            f"there is no Ray cluster at {told}: {error.strerror or error}{after}; start one with: ray start --head"
        ) from error
