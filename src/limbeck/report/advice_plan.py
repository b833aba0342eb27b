"""A tournament's plan in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.advice.candidates import BASELINE, CANDIDATES
from limbeck.advice.planned import Planned, shown_time
from limbeck.advice.question import written
from limbeck.advice.schedule import MARGIN
from limbeck.core.config import fields_of
from limbeck.plain import flat
from limbeck.recipes.read import plan
from limbeck.report.text import print_rows
from limbeck.studies.verdict import achieved

OUTSIDE = "ONE, FitNet, OD and IE: each has a choice to make, of layers or of what it wraps, which is yours"


def detectable(seeds: int, significance: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest d_z that so many seeds decide with this power."""
    low, high = 0.0, 1000.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if achieved(middle, seeds, significance) >= power else (middle, high)
    return high


def counted(number: int, what: str) -> str:
    """Return a number of things, as "1 seed" or "3 seeds"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def left_out_table(left_out: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a row per candidate that did not take part."""
    return [{"candidate": name, "why not": why} for name, why in left_out.items()]


def candidates_table(planned: Planned) -> list[dict[str, str]]:
    """Return a row per candidate that takes part: what it is, and what a run of it is reckoned to take."""
    base = planned.costs[BASELINE].epoch
    return [
        {
            "candidate": name,
            "what": CANDIDATES[name].about,
            "seconds an epoch": f"{cost.epoch:.3g}",
            "× baseline": f"{cost.epoch / base:.2f}" if base else "–",
        }
        for name, cost in planned.costs.items()
    ]


def schedule_table(planned: Planned) -> list[dict[str, str]]:
    """Return a row per part of the tournament: who, how long, and how long it takes."""
    schedule = planned.schedule
    rows = []
    if "teachers" in schedule.seconds:
        rows.append({"part": "teachers", "candidates": ", ".join(planned.needed_teachers)})
    for number, rung in enumerate(schedule.rungs, 1):
        entering = f"baseline and {rung.enter}, of which {rung.stay} go on"
        rows.append({"part": f"rung {number}", "candidates": entering, **_length(rung.epochs, rung.seeds)})
    first = schedule.challengers[0] if len(schedule.challengers) == 1 else "the best"
    rows.append({"part": "final", "candidates": f"baseline and {first}", **_length(schedule.epochs, schedule.seeds)})
    order = ("part", "candidates", "epochs", "seeds", "at most about")
    timed = [{**row, "at most about": shown_time(schedule.seconds[row["part"]])} for row in rows]
    return [{name: row.get(name, "–") for name in order} for row in timed]


def _length(epochs: int, seeds: Sequence[int]) -> dict[str, str]:
    return {"epochs": str(epochs), "seeds": ", ".join(map(str, seeds))}


def plan_in_words(planned: Planned) -> list[str]:
    """Return what is to know of a plan."""
    schedule, question = planned.schedule, planned.question
    counts = planned.examples
    lines = [
        f"In all about {shown_time(schedule.total)} of the {shown_time(question.budget)} allowed, with "
        f"{counted(planned.jobs, 'run')} at a time as measured just before (planned for {MARGIN - 1:.0%} more).",
        f"{counts['train']:,} examples to train on, {counts['validation']:,} held out to choose by, of which one is "
        f"{100 / counts['validation']:.2g} points of error; the test set of {counts['test']:,} is for the final alone.",
        f"{counted(len(schedule.seeds), 'seed')} in the final decide, with 80 % power, a difference of "
        f"{detectable(len(schedule.seeds)):.1f} times its own standard deviation over seeds; "
        f"{len(schedule.seeds) + 2} would decide one of {detectable(len(schedule.seeds) + 2):.1f}.",
    ]
    if len(schedule.seeds) < question.seeds:
        lines.append(f"The budget does not reach {question.seeds} seeds in the final.")
    return lines


def settings(planned: Planned) -> list[str]:
    """Return what all candidates have in common, a line each."""
    stage = fields_of(plan(planned.recipe, "advice").student)
    told = {key: stage[key] for key in ("optimiser", "schedule")}
    told["data"] = {key: stage["data"][key] for key in ("source", "validation", "views", "mix")}
    told["training"] = {key: stage["training"][key] for key in ("epochs", "batch_size", "precision")}
    lines = [
        f"student: {written(planned.question.student)}",
        *(f"{key}: {_plain(value)}" for key, value in told.items()),
    ]
    teacher = planned.question.teacher
    if isinstance(teacher, str):
        lines.append(f"teacher: the finished run {teacher}, whose training counts below as it is known there")
    elif teacher is not None:
        lines.append(f"teacher: {written(teacher)}, trained as the baseline, once for all candidates and seeds")
    return lines


def _plain(tree: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in flat(tree).items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return (
            " + ".join(str(one.get("name", one)) if isinstance(one, Mapping) else str(one) for one in value) or "none"
        )
    return str(value)


def print_plan(planned: Planned) -> None:
    """Print a plan."""
    print_rows(candidates_table(planned), "Candidates, with the hyper-parameters of their papers: nothing is tuned")
    print_rows(left_out_table(planned.left_out), "Left out")
    print_rows(schedule_table(planned), "Plan")
    for line in plan_in_words(planned):
        print(line)
