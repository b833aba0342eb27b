"""The account of a study while it is being made: written as its runs end, and so seldom that it costs little."""

from __future__ import annotations

import time
from collections.abc import Callable

from limbeck.studies.outcome import Outcome

# how much longer nothing is written than the last writing took: that is a twentieth of the time at most
PATIENCE = 20


class Account:
    """Writes down what there is of a study.

    Args:
        write: does it, and returns what it wrote.
    """

    def __init__(self, write: Callable[[], Outcome]) -> None:
        self._write, self._next = write, 0.0

    def renew(self) -> bool:
        """Write, unless that was done a moment ago; whether it was done now."""
        if time.monotonic() < self._next:
            return False
        self.write()
        return True

    def write(self) -> Outcome:
        """Write, and return what was written."""
        began = time.monotonic()
        outcome = self._write()
        ended = time.monotonic()
        self._next = ended + PATIENCE * (ended - began)
        return outcome
