"""Learning-rate schedules: the factor on the optimiser's `lr`, a pure function of the step, so nothing needs saving.

Times are in epochs (fractions allowed). `warmup` epochs rise linearly, step by step, from nearly 0 to the schedule's
own value; the schedule's time runs on underneath.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field

from limbeck.core.config import Count, Fraction, NonNegative, Positive, configurable


@runtime_checkable
class Rate(Protocol):
    """A learning-rate schedule."""

    warmup: float

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the factor at a time, without warm-up."""
        ...


@configurable
class ConstantRate:
    """Factor 1.

    Attributes:
        warmup: epochs of linear rise.
    """

    warmup: NonNegative = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


@configurable
class Step:
    """Multiply by `gamma` after every `every` epochs.

    Attributes:
        every: epochs between two drops.
        gamma: factor of a drop.
        warmup: epochs of linear rise.
    """

    every: Count
    gamma: Fraction = 0.1
    warmup: NonNegative = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return gamma^floor(epoch / every)."""
        return float(self.gamma ** (int(epoch) // self.every))


@configurable
class MultiStep:
    """Multiply by `gamma` at the start of each milestone.

    Attributes:
        milestones: epochs counted from 0, or, below 1, shares of all epochs.
        gamma: factor of a drop.
        warmup: epochs of linear rise.
    """

    milestones: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 0.75)
    gamma: Fraction = 0.1
    warmup: NonNegative = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return gamma^(milestones passed)."""
        passed = sorted(mark * epochs if mark < 1 else mark for mark in self.milestones)
        return float(self.gamma ** bisect_right(passed, int(epoch)))


@configurable
class Cosine:
    """Fall along half a cosine, step by step.

    Attributes:
        floor: the factor at the end.
        warmup: epochs of linear rise.
    """

    floor: Fraction = 0.0
    warmup: NonNegative = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the cosine between 1 and `floor`."""
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))


@configurable
class OneCycle:
    """Rise along a cosine, then fall along one.

    Attributes:
        peak: the share of training after which the factor is 1.
        start: the first factor.
        end: the last factor.
        warmup: epochs of linear rise.
    """

    peak: Annotated[Fraction, Field(gt=0, lt=1)] = 0.3
    start: Fraction = 0.04
    end: Fraction = 4e-6
    warmup: NonNegative = 0.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the factor of the cycle."""
        time = min(epoch / epochs, 1.0)
        if time < self.peak:
            return _cosine(self.start, 1.0, time / self.peak)
        return _cosine(1.0, self.end, (time - self.peak) / (1 - self.peak))


@configurable
class InverseSqrt:
    """Rise for `warmup` epochs, then fall as one over the square root of time (Vaswani et al., 2017).

    Attributes:
        warmup: epochs of linear rise, more than 0.
    """

    warmup: Positive = 4.0

    def factor(self, epoch: float, epochs: int) -> float:
        """Return 1 up to the end of the rise, and √(warmup / epoch) after it."""
        return math.sqrt(self.warmup / max(epoch, self.warmup))


RATES = {
    "constant": ConstantRate,
    "step": Step,
    "multi_step": MultiStep,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "inverse_sqrt": InverseSqrt,
}


def rate_at(rate: Rate, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor for an optimiser step counted from 0, warm-up included."""
    factor = rate.factor(step / steps_per_epoch, epochs)
    warmup_steps = rate.warmup * steps_per_epoch
    return factor * min(1.0, (step + 1) / warmup_steps) if warmup_steps else factor


def _cosine(first: float, last: float, time: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * time))
