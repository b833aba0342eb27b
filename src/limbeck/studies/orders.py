"""One run of a study: what is ordered of whoever carries it out, and what they report. Both can be written as JSON."""

from __future__ import annotations

import gc
import re
import struct
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError

from limbeck.errors import LimbeckError
from limbeck.recipes.read import plan
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

# A run's failure is a result of the study, whatever a recipe's or a user's own class did; an interruption is none.
FAILURES = (
    LimbeckError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SafetensorError,
    StopIteration,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
    zlib.error,
)


class Order(NamedTuple):
    """A run to be made.

    Attributes:
        name: of the run.
        folder: where it goes, beside the stages that it shares.
        recipe: resolved, as plain values.
        threads: that it computes with.
        accelerator: as in `Runtime`.
    """

    name: str
    folder: str
    recipe: dict[str, Any]
    threads: int
    accelerator: str


class Event(NamedTuple):
    """What happened in a run.

    Attributes:
        run: its name.
        kind: a stage begins, an epoch ends, there is something to say, the run is done, or it failed.
        text: the stage's name, what is said, or why it failed.
        epoch: of the stage, finished ones.
        trace: of a failure that is nobody's mistake, where it happened.
    """

    run: str
    kind: Literal["stage", "epoch", "say", "done", "failed"]
    text: str = ""
    epoch: int = 0
    trace: str = ""


Report = Callable[[Event], None]


class Relay(Display):
    """Shows nothing itself, and reports what a run tells its display."""

    def __init__(self, name: str, report: Report) -> None:
        super().__init__(silent=True)
        self._order, self._report = name, report

    @contextmanager
    def run(self, name: str, epochs: int, done: int = 0, unit: str = "epoch") -> Iterator[None]:
        """Report that a stage begins."""
        self._report(Event(self._order, "stage", name, done))
        yield

    def advance(self, epoch: int, values: Mapping[str, float]) -> None:
        """Report a finished epoch."""
        self._report(Event(self._order, "epoch", epoch=epoch))

    def say(self, text: str) -> None:
        """Report what is said."""
        self._report(Event(self._order, "say", text))


def execute(order: Order, report: Report) -> None:
    """Make a run in this process, or find it finished; a failure is reported, and nothing is raised."""
    torch.set_num_threads(order.threads)
    failed: Event | None = None
    try:
        found = plan(order.recipe, order.name)
        runtime = Runtime(order.accelerator, devices=1, nodes=1, precision=found.student.training.precision)
        with Relay(order.name, report) as display:
            found.run(Path(order.folder), runtime, display, name=order.name, shared=True)
    except FAILURES as error:
        trace = "" if isinstance(error, LimbeckError) else traceback.format_exc()
        failed = Event(order.name, "failed", reason(error), trace=trace)
    if failed is not None:
        # only now nothing holds the run's tensors any more
        _clear()
    report(failed or Event(order.name, "done"))


def reason(error: BaseException) -> str:
    """Return a failure as one line."""
    text = " ".join(str(error).split("\n\n")[0].split())
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or re.search(r"out of memory|can't allocate", text):
        return f"ran out of memory: {text}"[:300].rstrip(": ")
    return text if isinstance(error, LimbeckError) else f"{type(error).__name__}: {text}"[:300].rstrip(": ")


def _clear() -> None:
    """Give back what a failed run held, so that the next one finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
