"""How a tournament is cut to a budget: who takes part, how long, with how many seeds. Pure arithmetic.

Successive halving (Jamieson & Talwalkar, AISTATS 2016): of the challengers of a rung the better half goes on, until one
is left, which meets the baseline in the final. Here every rung trains anew, with a short but complete schedule and
seeds of its own, about twice as long as the rung before; the baseline takes part in each, and is never put out.

What is cut first where the budget is tight: the length and seeds of the rungs (down to `STEPS[0]`), then challengers,
the last of the list first, then seeds of the final, down to two. The final is never shortened.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# of the last rung: its epochs as a share of the full training, and seeds; from the cheapest
STEPS = ((0.25, 1), (0.375, 1), (0.5, 1), (0.375, 2), (0.5, 2), (0.75, 2), (1.0, 2), (0.75, 3), (1.0, 3))
# the shortest training that is looked at, as a share of the full one
SHORTEST = 0.1
# what is planned for may take so much longer
MARGIN = 1.1
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
        epoch: seconds, with those of stages that are trained along with it.
        once: seconds beside its epochs.
    """

    epoch: float
    once: float

    def run(self, epochs: int) -> float:
        """Return the seconds of a run."""
        return self.once + epochs * self.epoch


class Challenger(NamedTuple):
    """A candidate beside the baseline, as far as its cost goes.

    Attributes:
        name: it.
        cost: of a run.
        teacher: the name of the teacher that it needs, or None.
    """

    name: str
    cost: Cost
    teacher: str | None = None


@dataclass(frozen=True)
class Rung:
    """A round of the tournament.

    Attributes:
        epochs: of every training.
        seeds: of each candidate.
        enter: how many challengers take part.
        stay: how many of them go on.
    """

    epochs: int
    seeds: tuple[int, ...]
    enter: int
    stay: int


@dataclass(frozen=True)
class Schedule:
    """What is decided before the tournament begins.

    Attributes:
        challengers: who takes part, beside the baseline.
        rungs: in order.
        epochs: of the final, the full training.
        seeds: of the final, none of which a rung had.
        seconds: what each part takes at most, by its name; measured beforehand, not counting `MARGIN`.
    """

    challengers: tuple[str, ...]
    rungs: tuple[Rung, ...]
    epochs: int
    seeds: tuple[int, ...]
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of everything."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Field:
    """What there is to plan with.

    Attributes:
        baseline: what a run of it costs.
        challengers: in the order in which they would be left out, the last one first.
        teachers: what training each teacher takes, in seconds.
        epochs: of the full training.
        jobs: runs at a time.
    """

    baseline: Cost
    challengers: Sequence[Challenger]
    teachers: Mapping[str, float]
    epochs: int
    jobs: int = 1


def halvings(challengers: int) -> list[int]:
    """Return how many challengers each rung begins with, and at the end the one that is left: 6, 3, 2, 1."""
    counts = [challengers]
    while counts[-1] > 1:
        counts.append(math.ceil(counts[-1] / 2))
    return counts


def lengths(rungs: int, share: float, epochs: int) -> list[int]:
    """Return the epochs of each rung: the last has a share of the full ones, each before it half of the next.

    None has fewer than `SHORTEST` of the full ones.
    """
    least = max(1, math.ceil(SHORTEST * epochs))
    halved = [round(epochs * share / 2 ** (rungs - 1 - rung)) for rung in range(rungs)]
    return [min(epochs, max(least, length)) for length in halved]


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Return how long runs take that are begun in their order, so many at a time."""
    busy = [0.0] * jobs
    for one in seconds:
        heapq.heapreplace(busy, busy[0] + one)
    return max(busy)


def scheduled(field: Field, count: int, step: tuple[float, int], seeds: int) -> Schedule:
    """Return the schedule of the first so many challengers.

    Who goes on is not known yet, so later rungs are reckoned with the costliest that may be left.

    Args:
        field: what there is.
        count: how many challengers, at least one.
        step: of `STEPS`.
        seeds: of the final.
    """
    chosen = field.challengers[:count]
    counts = halvings(count)
    share, each = step
    rungs, used = [], 0
    for epochs, enter, stay in zip(lengths(len(counts) - 1, share, field.epochs), counts, counts[1:], strict=False):
        rungs.append(Rung(epochs, tuple(range(used, used + each)), enter, stay))
        used += each
    taught = dict.fromkeys(one.teacher for one in chosen if one.teacher is not None)
    seconds = {"teachers": makespan([field.teachers[name] for name in taught], field.jobs)} if taught else {}
    for number, rung in enumerate(rungs, 1):
        seconds[f"rung {number}"] = _rung_seconds(field, chosen, rung.enter, rung.epochs, len(rung.seeds))
    seconds["final"] = _rung_seconds(field, chosen, 1, field.epochs, seeds)
    names = tuple(one.name for one in chosen)
    return Schedule(names, tuple(rungs), field.epochs, tuple(range(used, used + seeds)), seconds)


def _rung_seconds(field: Field, chosen: Sequence[Challenger], enter: int, epochs: int, seeds: int) -> float:
    """Return what a rung, or the final, takes at most."""
    runs = sorted((one.cost.run(epochs) for one in chosen), reverse=True)[:enter]
    return makespan([field.baseline.run(epochs), *runs] * seeds, field.jobs)


def decide(field: Field, seeds: int, budget: float) -> Schedule | None:
    """Return the schedule that makes the most of a budget; None where none fits.

    Args:
        field: what there is; at least one challenger.
        seeds: of the final, as many as are wanted.
        budget: seconds that are left.
    """
    for wanted in range(seeds, FEWEST_SEEDS - 1, -1):
        for count in range(len(field.challengers), 0, -1):
            for step in reversed(STEPS):
                found = scheduled(field, count, step, wanted)
                if found.total * MARGIN <= budget:
                    return found
    return None


def least(field: Field) -> float:
    """Return the smallest budget for which `decide` finds a schedule, in seconds."""
    return scheduled(field, 1, STEPS[0], FEWEST_SEEDS).total * MARGIN


def whole(field: Field, seeds: int) -> float:
    """Return the smallest budget in which every challenger takes part, and the final has all its seeds, in seconds."""
    return scheduled(field, len(field.challengers), STEPS[0], seeds).total * MARGIN


def kept_seeds(schedule: Schedule, slower: float, budget: float) -> tuple[int, ...]:
    """Return the seeds of the final where the rungs took longer than planned.

    They are as planned, unless all would then take a quarter more than the budget; then as many as do not, at least
    two. Seeds are never added.

    Args:
        schedule: as planned.
        slower: what the rungs took, as a multiple of what was planned for them.
        budget: seconds for everything.
    """
    before = schedule.total - schedule.seconds["final"]
    one = schedule.seconds["final"] / len(schedule.seeds)
    for count in range(len(schedule.seeds), FEWEST_SEEDS, -1):
        if slower * (before + count * one) <= 1.25 * budget:
            return schedule.seeds[:count]
    return schedule.seeds[:FEWEST_SEEDS]
