"""How a tournament is cut to a budget: who takes part, how long, with how many seeds. Pure arithmetic.

Successive halving (Jamieson & Talwalkar, AISTATS 2016): the better half of a rung's challengers goes on to one that is
twice as long; the last rung leaves one, which meets the baseline in the final. Here every rung trains anew, with a
short but complete schedule and seeds of its own; the baseline takes part in each, and is never put out. No rung has
less than a quarter of the full epochs: in shorter trainings, what is good against over-fitting only looks slow.

What is cut first where the budget is tight: number, length and seeds of the rungs (down to `LADDER[0]`), then
challengers, the last of the list first, then seeds of the final, down to two. The final is never shortened.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Step(NamedTuple):
    """What rungs there may be.

    Attributes:
        shares: the epochs of each rung as a share of the full training; where there is less to halve, the last of them.
        seeds: of each candidate in each.
    """

    shares: tuple[float, ...]
    seeds: int


# from the cheapest: of n challengers, the rungs cost about as much as n / 4, n / 2, 3 n / 4, ... full trainings
LADDER = (
    Step((0.25,), 1),
    Step((0.25, 0.5), 1),
    Step((0.25, 0.5, 1.0), 1),
    Step((0.25, 0.5), 2),
    Step((0.25, 0.5, 1.0), 2),
    Step((0.5, 1.0), 2),
    Step((0.5, 1.0), 3),
)
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


def halvings(challengers: int, rungs: int) -> list[int]:
    """Return how many challengers each rung begins with, at most so many rungs, and at the end the one that is left.

    Of six there are 6, 3, 2, 1 in three rungs or more, 6, 3, 1 in two, and 6, 1 in one.
    """
    counts = [challengers]
    while counts[-1] > 1:
        last = len(counts) == rungs
        counts.append(1 if last else math.ceil(counts[-1] / 2))
    return counts


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Return how long runs take that are begun in their order, so many at a time."""
    busy = [0.0] * jobs
    for one in seconds:
        heapq.heapreplace(busy, busy[0] + one)
    return max(busy)


def scheduled(field: Field, count: int, step: Step, seeds: int) -> Schedule:
    """Return the schedule of the first so many challengers.

    Who goes on is not known yet, so later rungs are reckoned with the costliest that may be left.

    Args:
        field: what there is.
        count: how many challengers, at least one.
        step: of `LADDER`.
        seeds: of the final.
    """
    chosen = field.challengers[:count]
    counts = halvings(count, len(step.shares))
    lengths = [max(1, round(share * field.epochs)) for share in step.shares]
    rungs, used = [], 0
    for epochs, (enter, stay) in zip(lengths[len(lengths) + 1 - len(counts) :], pairwise(counts), strict=True):
        rungs.append(Rung(epochs, tuple(range(used, used + step.seeds)), enter, stay))
        used += step.seeds
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
            for step in reversed(LADDER):
                found = scheduled(field, count, step, wanted)
                if found.total * MARGIN <= budget:
                    return found
    return None


def least(field: Field) -> float:
    """Return the smallest budget for which `decide` finds a schedule, in seconds."""
    return scheduled(field, 1, LADDER[0], FEWEST_SEEDS).total * MARGIN


def whole(field: Field, seeds: int) -> float:
    """Return the smallest budget in which every challenger takes part, and the final has all its seeds, in seconds."""
    return scheduled(field, len(field.challengers), LADDER[0], seeds).total * MARGIN


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
