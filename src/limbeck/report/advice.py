"""A tournament's advice in words and tables, as Markdown and in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import NamedTuple

from limbeck.advice.candidates import BASELINE, CANDIDATES
from limbeck.advice.planned import shown_time
from limbeck.advice.spending import Spent, spent, taken
from limbeck.advice.tournament import Advice, figure
from limbeck.metrics import figures
from limbeck.report.advice_plan import (
    OUTSIDE,
    candidates_table,
    counted,
    left_out_table,
    plan_in_words,
    schedule_table,
    settings,
)
from limbeck.report.compare import markdown
from limbeck.report.study import cells_table, examples_table, explained, made_of, spread_of, verdicts_table
from limbeck.report.summary import interval, printed
from limbeck.report.text import print_rows
from limbeck.studies.verdict import CAP
from limbeck.studies.writing import more_seeds

SECONDS = "Seconds, mean over the final's runs; other work on the machine counts as well."


def name_of(candidate: str) -> str:
    """Return how the advice calls a way to train."""
    return "train it plainly" if candidate == BASELINE else f"train it with {candidate}"


def headline(advice: Advice) -> str:
    """Return the recommendation in a line."""
    if advice.recommended != BASELINE:
        return f"Recommended: {name_of(advice.recommended)} ({CANDIDATES[advice.recommended].about})."
    return f"Recommended: {name_of(BASELINE)} (cross-entropy on the labels)."


def reasons(advice: Advice) -> list[str]:
    """Return what the recommendation rests on, a sentence or two each: the verdict, what is expected, the cost."""
    return [verdict_in_words(advice), *expected(advice), *cost_in_words(advice)]


def verdict_in_words(advice: Advice) -> str:
    """Return what the final says of the challenger."""
    judged, by = advice.judged, figures.figure(advice.planned.question.by)
    if judged is None or advice.challenger is None:
        return "No candidate could be trained beside the baseline, so nothing was tested."
    verdict, measured = judged.verdict, judged.verdict.measured
    claim = judged.claim.text
    if measured is None:
        return f"{claim}: {verdict.why or verdict.decision}. Nothing speaks for {advice.challenger} yet."
    side = "lower" if measured.mean < 0 else "higher"
    among = len(advice.planned.schedule.challengers)
    chosen = f"the best of {among} on the validation split" if among > 1 else "the only challenger"
    found = (
        f"{advice.challenger}, {chosen}, against {BASELINE} on the test set: {by.name} "
        f"{by.show(abs(measured.mean))} {side} (95 % interval of the difference {_signed(by, measured.low)} to "
        f"{_signed(by, measured.high)}, {measured.seeds} seeds, p {measured.p:.2g})"
    )
    if verdict.decision != "undecided":
        level = f"{advice.final.study.significance:.0%}"
        return f"{found}: the claim {claim} is {verdict.decision} at the {level} level."
    needed = more_seeds(verdict)
    more = f"about {needed} more seeds" if verdict.needed and verdict.needed <= CAP else f"{needed} seeds"
    against = ", against it," if measured.mean > 0 else ""
    return (
        f"{found}: the claim {claim} is undecided. That is no evidence of equality: {more} would decide it{against} "
        "with 80 % power, were this the true difference."
    )


def _signed(by: figures.Figure, value: float) -> str:
    return f"{value * by.scale:+.{by.digits}f}"


def expected(advice: Advice) -> list[str]:
    """Return what figures a training as recommended is to be expected to have."""
    name, by = advice.recommended, advice.planned.question.by
    told = [
        f"{figures.figure(key).name} {printed(values, figures.figure(key))}"
        for key in dict.fromkeys((by, "error", "nll", "ece"))
        if (values := advice.values(name, key))
    ]
    seeds = counted(len(advice.values(name, by)), "seed")
    return [f"To be expected of {name}: {', '.join(told)} (mean ± half the 95 % interval, {seeds})."] if told else []


def cost_in_words(advice: Advice) -> list[str]:
    """Return what the challenger costs beside the baseline."""
    base = spent(advice.final, BASELINE)
    ours = None if advice.challenger is None else spent(advice.final, advice.challenger)
    if base is None or ours is None or not base.own:
        return []
    student, total = ours.own / base.own, (ours.own + ours.before) / base.own
    text = f"Training with {advice.challenger} takes {student:.1f} times as long as with {BASELINE}"
    if ours.before:
        text += f", {total:.1f} times with what has to be trained before it"
    return [f"{text}; the network that is deployed is the same."]


def cost_table(advice: Advice) -> list[dict[str, str]]:
    """Return a row per finalist: seconds of its training, and of what it needs before."""
    names = [BASELINE, *([advice.challenger] if advice.challenger else [])]
    found = {name: taken for name in names if (taken := spent(advice.final, name)) is not None}
    base = found.get(BASELINE, Spent(0.0, 0.0)).own
    return [
        {
            "candidate": name,
            "seconds of a training": f"{one.own:,.1f}",
            "trained before it": f"{one.before:,.1f}" if one.before else "–",
            "in all": f"{one.own + one.before:,.1f}",
            "× baseline, training alone": f"{one.own / base:.2f}" if base else "–",
            "× baseline, in all": f"{(one.own + one.before) / base:.2f}" if base else "–",
        }
        for name, one in found.items()
    ]


def rungs_table(advice: Advice) -> list[dict[str, str]]:
    """Return a row per candidate: its validation figure in each rung, and how far it came."""
    by = figures.figure(advice.planned.question.by)
    rows = []
    for name in (BASELINE, *advice.planned.schedule.challengers):
        row, end = {"candidate": name}, "the final"
        for number, held in enumerate(advice.rungs, 1):
            head = f"rung {number}: {counted(held.rung.epochs, 'epoch')}, {counted(len(held.rung.seeds), 'seed')}"
            there = name in held.outcome.runs
            values = list(held.outcome.values(figure(name, by.key)).values()) if there else []
            row[head] = by.show(interval(values).mean) if values else "failed" if name in held.failed else "–"
            if name in held.out or name in held.failed:
                end = f"rung {number}" + (", failed" if name in held.failed else "")
        rows.append({**row, "came as far as": end})
    return rows


def cautions(advice: Advice) -> list[str]:
    """Return what the tournament cannot tell."""
    planned = advice.planned
    texts = [
        "Nothing was tuned, neither a candidate's hyper-parameters nor the learning rate, which all share: a method "
        "that lost here may win with others.",
        "Rungs are short, and a regulariser can show itself only where there is over-fitting: a method that needs long "
        "training may have been put out early. A larger budget gives longer rungs, and more of them.",
        f"Who met the baseline was chosen among {len(planned.schedule.challengers)} by validation figures of "
        f"{planned.examples['validation']:,} examples, which do not tell small differences apart. The verdict is not "
        "biased by that choice: its seeds and its test set had no part in it.",
    ]
    if planned.needed_teachers or isinstance(planned.question.teacher, str):
        texts.append("The verdict is about this one teacher: others were not tried.")
    if isinstance(planned.question.teacher, str):
        texts.append(
            "The teacher is a run of before. If it learned from images that are held out here, its students may have "
            "been favoured in the rungs, though not in the final."
        )
    if (fewer := len(planned.schedule.seeds) - len(advice.final.study.seeds)) > 0:
        texts.append(
            f"The rungs took longer than planned, so the final has {counted(fewer, 'seed')} less than planned."
        )
    return texts


def taken_in_words(advice: Advice) -> str:
    """Return how long everything took beside what was planned."""
    planned = advice.planned
    took = taken(advice.folder) / planned.jobs
    return (
        f"planned: {shown_time(planned.schedule.total)} of the {shown_time(planned.question.budget)} allowed; its "
        f"trainings took {shown_time(took)}, at {counted(planned.jobs, 'run')} at a time"
    )


class Next(NamedTuple):
    """A command that goes on from here, and what it does."""

    command: str
    about: str


def next_steps(advice: Advice) -> list[Next]:
    """Return what to do next."""
    folder, name = advice.folder, advice.planned.question.name
    train = shlex.join(["limbeck", "train", str(folder / "recipe.yaml"), "--folder", f"runs/{name}"])
    steps = [Next(train, "trains it as recommended")]
    verdict = None if advice.judged is None else advice.judged.verdict
    if verdict is not None and verdict.measured and verdict.measured.mean < 0 and (verdict.needed or CAP + 1) <= CAP:
        more = shlex.join(["limbeck", "study", str(folder / "final.yaml"), "--out", str(folder / "final")])
        about = "goes on with the final, once you have added seeds to that file: decide how many before you look"
        steps.append(Next(more, about))
    return steps


def advice_report(advice: Advice) -> str:
    """Return the whole report as Markdown."""
    planned, final = advice.planned, advice.final
    parts = [f"# {planned.question.title}", f"**{headline(advice)}**", _listed(reasons(advice)), f"`{final.command}`"]
    parts += ["## The final, on the test set", f"{spread_of(final)}.", markdown(cells_table(final, "last")).strip()]
    if final.judged:
        parts += [markdown(verdicts_table(final.judged)).strip(), explained(final)]
    if rows := examples_table(final):
        parts += ["Over the test examples, the networks held fixed:", markdown(rows).strip()]
    parts += ["## Cost", SECONDS, markdown(cost_table(advice)).strip()]
    if advice.rungs:
        by = figures.figure(planned.question.by).name
        parts += ["## How the challenger was chosen", f"{by} on the validation split, mean over seeds."]
        parts.append(markdown(rungs_table(advice)).strip())
    parts += ["## Candidates", markdown(candidates_table(planned)).strip()]
    if planned.left_out:
        parts += ["Left out:", markdown(left_out_table(planned.left_out)).strip()]
    parts.append(f"Not among the candidates: {OUTSIDE}.")
    parts += ["## Plan", markdown(schedule_table(planned)).strip(), _listed(plan_in_words(planned))]
    parts += ["The same for all:", _listed(settings(planned))]
    parts += ["## What this cannot tell", _listed(cautions(advice))]
    parts += ["## Next", _listed(f"`{step.command}`: {step.about}" for step in next_steps(advice))]
    parts += ["## How it was made", _listed([taken_in_words(advice), *made_of(final)])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def print_advice(advice: Advice) -> None:
    """Print the recommendation, what it rests on, and what to do next."""
    if advice.rungs:
        by = figures.figure(advice.planned.question.by).name
        print_rows(rungs_table(advice), f"Validation split: {by}, mean over seeds")
    print_rows(cells_table(advice.final, "last"), f"Test set, the final: {spread_of(advice.final)}")
    print_rows(verdicts_table(advice.final.judged), "The claim")
    print(headline(advice))
    for reason in reasons(advice):
        print(f"- {reason}")
    for step in next_steps(advice):
        print(f"{step.command}   ({step.about})")
