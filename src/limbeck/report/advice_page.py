"""What a tournament leaves behind: its page, its report, the recommended recipe, and all of it as JSON."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go

from limbeck import files
from limbeck.advice.candidates import BASELINE
from limbeck.advice.spending import spent
from limbeck.advice.tournament import Advice, figure
from limbeck.metrics import figures
from limbeck.recipes.parse import write
from limbeck.report.advice import (
    SECONDS,
    advice_report,
    cautions,
    cost_table,
    headline,
    next_steps,
    reasons,
    rungs_table,
    taken_in_words,
)
from limbeck.report.advice_plan import (
    OUTSIDE,
    candidates_table,
    counted,
    left_out_table,
    plan_in_words,
    schedule_table,
    settings,
)
from limbeck.report.drawing import Exhibit, legend, line, plain, shown, symbol, write_html
from limbeck.report.forest import LOOKS, forest
from limbeck.report.page import exhibits
from limbeck.report.study import OVER_EXAMPLES, examples_table, explained, made_of, report, spread_of, verdicts_table
from limbeck.report.study_page import places_of, write_study_page
from limbeck.report.summary import interval, results_table
from limbeck.studies.writing import verdict_row, versions


def write_advice(advice: Advice) -> None:
    """Write report.html, report.md, recipe.yaml and advice.json into the tournament's folder, and the final's report.

    Raises:
        LimbeckError: a run's files are damaged, or a file cannot be written.
    """
    folder = advice.folder
    files.write(folder / "final" / "report.md", report(advice.final))
    write_study_page(advice.final, folder / "final" / "report.html")
    about = f"{headline(advice)} By limbeck advise; {advice.planned.question.title}."
    files.write(folder / "recipe.yaml", write({"description": about} | advice.recipe))
    files.write(folder / "advice.json", json.dumps(advice_values(advice), indent=2, allow_nan=False) + "\n")
    files.write(folder / "report.md", advice_report(advice))
    _write_page(advice)


def advice_values(advice: Advice) -> dict[str, Any]:
    """Return the advice as plain values, unscaled."""
    by = advice.planned.question.by
    names = [BASELINE, *([advice.challenger] if advice.challenger else [])]
    told: dict[str, Any] = {}
    for name in names:
        keys = [one.key for one in figures.FIGURES if advice.values(name, one.key)]
        taken = spent(advice.final, name)
        told[name] = {
            "figures": {key: interval(advice.values(name, key))._asdict() for key in keys},
            "seconds": None if taken is None else taken._asdict(),
        }
    return {
        "recommended": advice.recommended,
        "challenger": advice.challenger,
        "by": by,
        "verdict": None if advice.judged is None else verdict_row(advice.judged),
        "final": told,
        "rungs": [
            {
                "epochs": held.rung.epochs,
                "seeds": list(held.rung.seeds),
                "validation": {
                    name: values
                    for name in held.outcome.runs
                    if (values := list(held.outcome.values(figure(name, by)).values()))
                },
                "kept": held.kept,
                "failed": held.failed,
            }
            for held in advice.rungs
        ],
        "left_out": advice.planned.left_out,
        "command": advice.final.command,
        "versions": versions(),
    }


def rungs_exhibit(advice: Advice) -> Exhibit | None:
    """Return the drawing of each candidate's validation figure, rung by rung; None without rungs."""
    if not advice.rungs:
        return None
    by = figures.figure(advice.planned.question.by)
    names = [BASELINE, *advice.planned.schedule.challengers]
    drawing = go.Figure()
    numbers = []
    for i, name in enumerate(names):
        found = [
            (held.rung.epochs, number, list(held.outcome.values(figure(name, by.key)).values()))
            for number, held in enumerate(advice.rungs, 1)
            if name in held.outcome.runs
        ]
        points = [(epochs, number, interval(values).mean) for epochs, number, values in found if values]
        numbers += [
            {"candidate": name, "rung": number, "epochs": epochs, f"validation_{by.key}": mean}
            for epochs, number, mean in points
        ]
        drawing.add_scatter(
            x=[f"rung {number}<br>{counted(epochs, 'epoch')}" for epochs, number, _ in points],
            y=[by.scale * mean for _, _, mean in points],
            mode="lines+markers", name=plain(name), legendgroup=str(i), line=line(i),
            marker={"symbol": symbol(i), "size": 9}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    drawing.update_xaxes(type="category")
    drawing.update_yaxes(title=f"validation: {by.name}")
    about = (
        "On the validation split, mean over the rung's seeds. A line ends where its candidate was put out; the "
        "baseline stays. Each rung trains anew, with seeds of its own, so a line may cross others by chance."
    )
    return Exhibit("rungs", "How the challenger was chosen", about, drawing, rungs_table(advice), numbers, labels=names)


def _write_page(advice: Advice) -> None:
    final, planned = advice.final, advice.planned
    groups = [place.group for place in places_of(final)]
    claims, rungs = forest(final.judged), rungs_exhibit(advice)
    decision = advice.judged.verdict.decision if advice.judged else "undecided"
    write_html(
        advice.folder / "report.html",
        "advice.html",
        title=planned.question.title,
        command=final.command,
        headline=headline(advice),
        colour=LOOKS[decision][0],
        reasons=reasons(advice),
        next=next_steps(advice),
        spread=spread_of(final),
        rows=results_table(groups, "last"),
        claims=verdicts_table(final.judged),
        explained=explained(final) if final.judged else "",
        forest=shown([claims] if claims else []),
        over_examples=examples_table(final),
        over_examples_about=OVER_EXAMPLES,
        seconds=SECONDS,
        costs=cost_table(advice),
        rungs=shown([rungs] if rungs else []),
        candidates=candidates_table(planned),
        left_out=left_out_table(planned.left_out),
        outside=OUTSIDE,
        schedule=schedule_table(planned),
        plan=plan_in_words(planned),
        settings=settings(planned),
        cautions=cautions(advice),
        failures=final.failures,
        made=[taken_in_words(advice), *made_of(final)],
        exhibits=shown(exhibits(groups, "last")),
        legend=legend([group.label for group in groups]),
    )
