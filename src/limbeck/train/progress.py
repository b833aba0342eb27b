"""Long work shows how far it is: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0
SHOWN = ("loss", "error", "validation/error")
# of several students: "error/0", "validation/0/error"
_UNNUMBERED = re.compile(r"/\d+")


class Display:
    """Progress over runs and epochs, on standard error; a context manager.

    Args:
        runs: how many runs are to come, for the overall bar; None shows none.
        silent: show nothing.
    """

    def __init__(self, runs: int | None = None, *, silent: bool = False) -> None:
        self.console = Console(stderr=True, quiet=silent)
        self.live = self.console.is_terminal and not silent
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console, disable=not self.live)
        self._runs = runs
        self._overall: TaskID | None = None
        self._run: TaskID | None = None
        self._name, self._epochs, self._started, self._spoken, self._first = "", 0, 0.0, 0.0, 0
        self._unit = "epoch"

    def __enter__(self) -> Display:
        """Start the live display."""
        self._bars.start()
        if self._runs is not None and self._runs > 1:
            self._overall = self._bars.add_task("all runs", total=self._runs, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the live display."""
        self._bars.stop()

    @contextmanager
    def run(self, name: str, epochs: int, done: int = 0, unit: str = "epoch") -> Iterator[None]:
        """Announce a run, of which `done` epochs (or other units) are there already; at the end it counts as done."""
        self._begin(name, epochs, done, unit)
        try:
            yield
        finally:
            self._end()

    def _begin(self, name: str, epochs: int, done: int, unit: str) -> None:
        self._name, self._epochs, self._first, self._unit = name, epochs, done, unit
        self._started = self._spoken = time.monotonic()
        self._run = self._bars.add_task(name, total=epochs, completed=done, note="")
        if not self.live:
            length = f"{epochs} {unit}{'s' if epochs > 1 else ''}"
            self.say(f"{name}: {length}" + (f", continuing after {done}" if done else ""))

    def advance(self, epoch: int, values: Mapping[str, float]) -> None:
        """Show a finished epoch (or other unit), counted from 1."""
        note = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if _UNNUMBERED.sub("", name) in SHOWN)
        if self._run is not None:
            self._bars.update(self._run, completed=epoch, note=note)
        now = time.monotonic()
        if not self.live and (now - self._spoken > SECONDS_BETWEEN_LINES or epoch == self._epochs):
            left = (now - self._started) / (epoch - self._first) * (self._epochs - epoch)
            rest = f"  about {_duration(left)} left" if left else ""
            self.say(f"{self._name}: {self._unit} {epoch}/{self._epochs}  {note}{rest}")
            self._spoken = now

    def _end(self) -> None:
        if self._run is not None:
            self._bars.remove_task(self._run)
            self._run = None
        if self._overall is not None:
            self._bars.advance(self._overall)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
