"""Runs in this process, one after the other."""

from __future__ import annotations

import torch

from limbeck.studies.orders import Order, Report, execute
from limbeck.studies.schedule import Executor


class Here(Executor):
    """Makes each run when it is started."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()

    @property
    def free(self) -> bool:
        """Yes: a run ends before `start` returns."""
        return True

    def start(self, order: Order, report: Report) -> None:
        """Make a run."""
        execute(order, report)

    def wait(self, report: Report) -> None:
        """Return: nothing goes on."""

    def close(self) -> None:
        """Take the number of threads from before."""
        torch.set_num_threads(self._threads)
