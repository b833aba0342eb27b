"""Weights that move with the clock. A weight is a number, or one of these; `at(weight, clock)` reads either.

Time is counted in whole epochs from 1, as the papers count it: during the first epoch e = 1, during the last e = E.
"""

from __future__ import annotations

import math
from typing import Annotated, Protocol, runtime_checkable

from pydantic import AfterValidator

from limbeck.core.batch import Clock
from limbeck.core.config import Count, Fraction, Index, Named, NonNegative, configurable


@runtime_checkable
class Schedule(Protocol):
    """A number that depends on the clock."""

    def __call__(self, clock: Clock) -> float:
        """Return the value during the epoch that the clock is in."""
        ...


@configurable
class Constant:
    """The same value at all times.

    Attributes:
        value: it.
    """

    value: NonNegative

    def __call__(self, clock: Clock) -> float:
        """Return `value`."""
        return self.value


@configurable
class Linear:
    """Linear growth: `final` · e / E, the schedule of PS-KD (ICCV 2021).

    Attributes:
        final: the value during the last epoch.
    """

    final: NonNegative

    def __call__(self, clock: Clock) -> float:
        """Return `final` · (epoch + 1) / epochs."""
        return self.final * (clock.epoch + 1) / clock.epochs


@configurable
class RampUp:
    """Sigmoid-shaped ramp-up: `value` · exp(-5 (1 - epoch / epochs)²) to `epochs`, then `value` (ONE, NeurIPS 2018).

    Attributes:
        value: the final value.
        epochs: how many epochs it takes to get there.
    """

    value: NonNegative
    epochs: Count

    def __call__(self, clock: Clock) -> float:
        """Return the ramped value; the first epoch has `value` · exp(-5)."""
        rest = 1 - min(clock.epoch / self.epochs, 1.0)
        return self.value * math.exp(-5 * rest * rest)


@configurable
class Until:
    """One value first, then another: early-stopped distillation (ESKD, ICCV 2019).

    Attributes:
        value: during the first `epoch` epochs.
        epoch: how many.
        after: from then on.
    """

    value: NonNegative
    epoch: Index
    after: NonNegative = 0.0

    def __call__(self, clock: Clock) -> float:
        """Return `value` or `after`."""
        return self.value if clock.epoch < self.epoch else self.after


SCHEDULES = {"constant": Constant, "linear": Linear, "ramp_up": RampUp, "until": Until}


def _within_one(schedule: Schedule) -> Schedule:
    largest = max(getattr(schedule, name, 0.0) for name in ("value", "final", "after"))
    if largest > 1:
        raise ValueError(f"must stay within 0 and 1; it reaches {largest:g}")
    return schedule


WeightOverTime = NonNegative | Annotated[Schedule, Named(SCHEDULES)]
FractionOverTime = Fraction | Annotated[Schedule, Named(SCHEDULES), AfterValidator(_within_one)]


def at(weight: float | Schedule, clock: Clock) -> float:
    """Return a weight's value at the clock: a plain number stands for itself."""
    return weight if isinstance(weight, int | float) else weight(clock)
