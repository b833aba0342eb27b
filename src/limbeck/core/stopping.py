"""When a teacher's term ends: after a fixed epoch, or when the student's validation error no longer falls.

The paper of early-stopped distillation (ESKD, ICCV 2019) names no rule that could be verified, only that the term is
switched off at some epoch, in its plot about where the learning rate first drops.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from limbeck.core.batch import Clock
from limbeck.core.config import Count, Index, configurable
from limbeck.errors import LimbeckError


class Past(NamedTuple):
    """What the validation split has said of one student so far.

    Attributes:
        best: the lowest error yet.
        waited: epochs since then.
    """

    best: float = float("inf")
    waited: int = 0


@runtime_checkable
class StopRule(Protocol):
    """Says when a term ends, of each student by itself; a term that has ended does not come back."""

    @property
    def validated(self) -> bool:
        """Whether it has to know the validation error."""
        ...

    def over(self, clock: Clock, past: Past) -> bool:
        """Return whether the term has ended."""
        ...

    def note(self, past: Past, error: float) -> Past:
        """Return the past with an epoch's validation error added."""
        ...

    def check(self, epochs: int) -> None:
        """Refuse a rule that means nothing for a training of so many epochs."""


@configurable
class AtEpoch:
    """After a fixed number of epochs.

    Attributes:
        epoch: how many epochs have the term; 0 for none, as many as there are for all.
    """

    epoch: Index

    @property
    def validated(self) -> bool:
        """Return that it does not."""
        return False

    def over(self, clock: Clock, past: Past) -> bool:
        """Return whether so many epochs are over."""
        return clock.epoch >= self.epoch

    def note(self, past: Past, error: float) -> Past:
        """Return the past as it was."""
        return past

    def check(self, epochs: int) -> None:
        """Refuse an epoch after the last.

        Raises:
            LimbeckError: it is.
        """
        if self.epoch > epochs:
            raise LimbeckError(f"stop.epoch is {self.epoch}, after the last of {epochs} epochs: lower it")


@configurable
class Patience:
    """When the lowest validation error is so many epochs old.

    Attributes:
        epochs: how many epochs may pass without a lower error before the term ends.
    """

    epochs: Count

    @property
    def validated(self) -> bool:
        """Return that it does."""
        return True

    def over(self, clock: Clock, past: Past) -> bool:
        """Return whether so many epochs have passed."""
        return past.waited >= self.epochs

    def note(self, past: Past, error: float) -> Past:
        """Return the past with another epoch; once the term is over nothing counts any more."""
        if past.waited >= self.epochs:
            return past
        return Past(error) if error < past.best else Past(past.best, past.waited + 1)

    def check(self, epochs: int) -> None:
        """Refuse a patience that cannot run out.

        Raises:
            LimbeckError: it is at least as long as the training.
        """
        if self.epochs >= epochs:
            raise LimbeckError(f"stop.epochs is {self.epochs}, and never over in {epochs} epochs: lower it")


STOPS = {"epoch": AtEpoch, "patience": Patience}
