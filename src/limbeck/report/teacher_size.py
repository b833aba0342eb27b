"""The picture of capacity: student error against the size of the teacher (ESKD, ICCV 2019), with bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.plain import check_classifies
from limbeck.report.compare import FinishedRun, described, labels_of, read_runs
from limbeck.report.drawing import COLOURS, line, numbers_file, plain, sections, write_html
from limbeck.report.students import check_same_test, path_of
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.lineage import teacher_of

ABOUT = (
    "Test error of students (last weights), mean and standard deviation over seeds, by the number of parameters of the "
    "network that taught them; students without a teacher are the horizontal lines. Where the lines rise to the right, "
    "a larger teacher is the worse one.",
)


class Taught(NamedTuple):
    """One student.

    Attributes:
        path: RUN, or RUN/student-1.
        line: what it has in common with the others of its line: network, method, all else of its recipe that not all
            students have, and how its teacher was trained.
        teacher: the teacher's network; nothing without one.
        parameters: of the teacher; None without one.
        error: of the student, a share.
        teacher_error: of the teacher, a share; NaN where the teacher's run did not measure it.
    """

    path: str
    line: str
    teacher: str
    parameters: int | None
    error: float
    teacher_error: float


def write_capacity(runs: Sequence[Path], out: Path) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: finished runs, or folders of them, tested on the same images; each teacher a run or stage.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.

    Raises:
        LimbeckError: no finished runs, none with a teacher, damaged files, different test sets, a run of another
            task, a name that is no page's.
    """
    numbers = numbers_file(out)
    students = [one for one in read_runs(runs) if one.student != ENSEMBLE]
    for student in students:
        check_classifies(student.folder)
    check_same_test(students)
    trees = [{key: value for key, value in described(one).items() if key != "teacher"} for one in students]
    networks = [tree.pop("model.name") for tree in trees]
    lines = [f"{network} by {label}" for network, label in zip(networks, labels_of(trees), strict=True)]
    found = [measure(one, told) for one, told in zip(students, lines, strict=True)]
    if all(one.parameters is None for one in found):
        raise LimbeckError("none of these runs was taught by another run or stage: give students of several teachers")
    rows = [_row(members) for members in grouped(found)]
    values: dict[str, Any] = {"paragraphs": ABOUT, "drawings": sections([_drawing(found)]), "rows": rows}
    write_html(out, "analysis.html", title="Teachers of growing size", **values)
    files.write(numbers, csv(found))
    return rows


def measure(student: FinishedRun, told: str) -> Taught:
    """Return a student with what its teacher was.

    Args:
        student: its run.
        told: its own network, method and the like, in words.

    Raises:
        LimbeckError: a folder is damaged, or its teacher is not there any more.
    """
    error, choice = student.results["last"]["error"], teacher_of(student.folder)
    if choice is None or choice.run is None:
        return Taught(path_of(student), told, "", None, error, float("nan"))
    results = files.read_json(Path(choice.run) / "results.json")
    name = "student" if choice.student is None else f"student-{choice.student}"
    figures = {**results["students"][name], **results.get("kept", {}).get(name, {})}.get(choice.which, {})
    label = str(student.environment.get("teacher"))
    teacher, _, how = label.partition(" by ")
    return Taught(
        path_of(student),
        f"{told}, teacher by {how}",
        teacher,
        int(results["parameters"][name]),
        error,
        float(figures.get("error", "nan")),
    )


def grouped(found: Sequence[Taught]) -> list[list[Taught]]:
    """Return students of one line and one teacher together, by line and then by the teacher's size."""
    groups: dict[tuple[str, str, int], list[Taught]] = {}
    for one in found:
        groups.setdefault((one.line, one.teacher, one.parameters or 0), []).append(one)
    lines = list(dict.fromkeys(one.line for one in found))
    return [groups[key] for key in sorted(groups, key=lambda key: (lines.index(key[0]), key[2]))]


def _row(members: Sequence[Taught]) -> dict[str, str]:
    one = members[0]
    errors, theirs = ([getattr(each, key) for each in members] for key in ("error", "teacher_error"))
    return {
        "student": one.line,
        "teacher": one.teacher or "–",
        "its parameters": "–" if one.parameters is None else f"{one.parameters:,}",
        "its error %": _percent(theirs),
        "error %": _percent(errors),
        "n": str(len(members)),
    }


def _percent(shares: Sequence[float]) -> str:
    if not np.isfinite(shares).all():
        return "–"
    mean = f"{100 * np.mean(shares):.2f}"
    return mean if len(shares) == 1 else f"{mean} ± {100 * np.std(shares, ddof=1):.2f}"


def csv(found: Sequence[Taught]) -> str:
    """Return every student, unrounded, a line each."""
    import pandas as pd

    return str(pd.DataFrame([one._asdict() for one in found]).to_csv(index=False))


def _drawing(found: Sequence[Taught]) -> go.Figure:
    """Draw each line with its band; students without a teacher over the whole width."""
    drawing = go.Figure(layout={"title": "Student error by the size of the teacher"})
    sizes = [one.parameters for one in found if one.parameters is not None]
    for i, name in enumerate(dict.fromkeys(one.line for one in found)):
        points = [group for group in grouped(found) if group[0].line == name]
        x = [group[0].parameters for group in points]
        mean = np.array([100 * np.mean([one.error for one in group]) for group in points])
        spread = np.array([100 * np.std([one.error for one in g], ddof=1) if len(g) > 1 else 0.0 for g in points])
        if x == [None]:
            x, mean, spread = [min(sizes), max(sizes)], mean.repeat(2), spread.repeat(2)
        band = np.concatenate([mean + spread, (mean - spread)[::-1]])
        colour = COLOURS[i % len(COLOURS)]
        drawing.add_scatter(
            x=[*x, *x[::-1]], y=band, fill="toself", fillcolor=colour, opacity=0.15, line={"width": 0},
            mode="lines", hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        drawing.add_scatter(x=x, y=mean, mode="lines+markers", name=plain(name), line=line(i))
    drawing.update_xaxes(title="parameters of the teacher", type="log")
    drawing.update_yaxes(title="test error of the student (%)")
    return drawing
