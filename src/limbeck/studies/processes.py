"""Runs in several processes of this machine, each with its own threads, and its own GPU where there are several.

Every process makes one run after the other. One that dies costs its run alone: the next run gets a new process.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path

import torch

from limbeck.studies.orders import Event, Order, Report
from limbeck.studies.schedule import Executor

PAUSE = 1.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker:
    """One process.

    Args:
        number: among the workers.
        threads: that it computes with.
        log: where it writes what it has to say.
    """

    def __init__(self, number: int, threads: int, log: Path) -> None:
        self.number, self.log = number, log
        self.order: Order | None = None
        self._read = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "limbeck.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(number, threads),
                start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
            )

    @property
    def output(self) -> int:
        """The file descriptor from which its events come."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def start(self, order: Order) -> bool:
        """Hand over an order; whether there is somebody to take it."""
        assert self.process.stdin is not None
        self.order = order
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def events(self) -> list[Event] | None:
        """Return what has come since, or None where the process has ended; call it when there is something to read."""
        content = os.read(self.output, 1 << 16)
        if not content:
            return None
        *lines, self._read = (self._read + content).split(b"\n")
        return [Event(*json.loads(line)) for line in lines]

    def end(self) -> str:
        """End the process, and say how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # at which a worker that is still there ends
        self.process.stdout.close()
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "its process was killed (SIGKILL): the machine may have run out of memory"
        if code < 0:
            return f"its process died of {signal.Signals(-code).name}; {self.log} may say more"
        return f"its process ended with exit code {code}; {self.log} may say more"


class Processes(Executor):
    """Makes runs in worker processes.

    Args:
        jobs: how many at a time.
        threads: of each.
        folder: of the study, which gets the workers' logs.
    """

    def __init__(self, jobs: int, threads: int, folder: Path) -> None:
        self._jobs, self._threads, self._folder = jobs, threads, folder
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()

    @property
    def free(self) -> bool:
        """Whether a process has nothing to do, or may be started."""
        return sum(worker.order is not None for worker in self._workers.values()) < self._jobs

    def start(self, order: Order, report: Report) -> None:
        """Give a run to a process."""
        idle = next((worker for worker in self._workers.values() if worker.order is None), None)
        worker = idle or self._new()
        if not worker.start(order):
            self._lost(worker, report)

    def wait(self, report: Report) -> None:
        """Report what the processes say."""
        for key, _ in self._selector.select(PAUSE):
            worker: Worker = key.data
            events = worker.events()
            for event in events or ():
                if event.kind in {"done", "failed"}:
                    worker.order = None
                report(event)
            if events is None:
                self._lost(worker, report)

    def close(self) -> None:
        """End the processes; what they were at goes on from its last checkpoint another time."""
        for worker in list(self._workers.values()):
            worker.process.kill()
            self._forget(worker)

    def _new(self) -> Worker:
        number = next(i for i in range(self._jobs) if i not in self._workers)
        worker = self._workers[number] = Worker(number, self._threads, self._folder / "logs" / f"worker-{number}.log")
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _forget(self, worker: Worker) -> str:
        self._selector.unregister(worker.output)
        del self._workers[worker.number]
        return worker.end()

    def _lost(self, worker: Worker, report: Report) -> None:
        order, why = worker.order, self._forget(worker)
        if order is not None:
            report(Event(order.name, "failed", why))


def _environment(number: int, threads: int) -> dict[str, str]:
    """Return the environment of a worker: this one's, its share of the cores, and one GPU where there are several."""
    environment = dict(os.environ) | dict.fromkeys(THREADS, str(threads))
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = seen.split(",") if seen else [str(i) for i in range(torch.cuda.device_count())]
    if len(devices) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return environment
