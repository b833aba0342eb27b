"""Networks together: the mean of their probabilities, and how differently they err."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from limbeck import files
from limbeck.analysis.diversity import Diversity, mean, pairwise, right
from limbeck.errors import LimbeckError
from limbeck.metrics import summary
from limbeck.metrics.figures import FIGURES
from limbeck.report.compare import FinishedRun, Which, read_runs
from limbeck.report.drawing import COLOURS, numbers_file, plain, sections, write_html
from limbeck.report.students import check_same_test, label_of, path_of, read_student, read_students
from limbeck.tasks.classification import ENSEMBLE, Predictions, ensemble
from limbeck.teachers.lineage import lineage
from limbeck.train.predictions import read_predictions

MEASURES = {
    "disagreement": "disagreement %",
    "double_fault": "double fault %",
    "q_statistic": "Q statistic",
    "correlation": "correlation of errors",
}
ABOUT = (
    "The ensemble says the mean of its members' probabilities. Diversity is of pairs of members, by where they are "
    "right (Kuncheva & Whitaker, 2003): disagreement is the share of the test images on which exactly one is right, "
    "double fault that on which both are wrong, Q and the correlation are 0 for independent errors and 1 for equal "
    "ones. Where nothing is said, the measure is not defined: a network is right, or wrong, on all images.",
    "Of members that are equally good, those whose errors go together less make the better ensemble.",
)


class Joined(NamedTuple):
    """An ensemble.

    Attributes:
        name: of the group.
        members: its networks.
        alone: unscaled test figures of each.
        together: those of the ensemble.
        pairs: diversity by the numbers of two members.
    """

    name: str
    members: list[FinishedRun]
    alone: list[dict[str, float]]
    together: dict[str, float]
    pairs: dict[tuple[int, int], Diversity]


def members_of(runs: Sequence[Path], sequence: bool) -> list[FinishedRun]:
    """Return the networks of an ensemble.

    Args:
        runs: run folders, folders of run folders, or RUN/student-1.
        sequence: also take the runs that led to each, teacher by teacher.

    Raises:
        LimbeckError: no finished runs; one network twice, or one alone.
    """
    found: list[FinishedRun] = []
    for run in runs:
        if run.is_dir():
            places = [student.folder for student in read_runs([run])]
            for place in dict.fromkeys(places):
                line = lineage(place) if sequence else [place]
                found += [one for each in line for one in read_students(each) if one.student != ENSEMBLE]
        elif sequence:
            raise LimbeckError(f"--sequence takes whole runs with those that taught them: name {run.parent}, not {run}")
        else:
            found.append(read_student(run))
    named = [path_of(one) for one in found]
    resolved = [Path(name).resolve() for name in named]
    if twice := [name for name, place in zip(named, resolved, strict=True) if resolved.count(place) > 1]:
        raise LimbeckError(f"{twice[0]} is in the ensemble twice: name each network once")
    if len(found) < 2:
        raise LimbeckError(f"an ensemble has at least two networks, and here is {len(found)}")
    return found


def join(name: str, members: Sequence[FinishedRun], which: Which) -> Joined:
    """Return what networks say together, and how differently they err.

    Raises:
        LimbeckError: damaged files, or different test sets.
    """
    check_same_test(members)
    said = [_said(one, which) for one in members]
    for one, other in zip(members, said, strict=True):
        if not np.array_equal(other.ids, said[0].ids) or other.logits.shape != said[0].logits.shape:
            raise LimbeckError(f"{members[0].folder} and {one.folder} answered other images, or have other classes")
    together = ensemble(said)
    alone = [summary(one.logits, one.labels) for one in said]
    pairs = pairwise([right(one.logits, one.labels) for one in said])
    return Joined(name, list(members), alone, summary(together.logits, together.labels), pairs)


def _said(member: FinishedRun, which: Which) -> Predictions:
    if which not in member.results:
        raise LimbeckError(f"{member.folder} has no {which} weights: it was trained without a validation split")
    return read_predictions(member.folder, member.student, which)


def write_ensembles(groups: Sequence[Joined], out: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Write the page and the numbers beside it, and return the rows of figures and those of diversity.

    Raises:
        LimbeckError: the groups have other test sets or numbers of members; a name that is no page's.
    """
    numbers = numbers_file(out)
    check_same_test([group.members[0] for group in groups])
    if len({len(group.members) for group in groups}) > 1:
        first, second = (len(group.members) for group in groups)
        raise LimbeckError(f"an ensemble of {first} against one of {second}: compare as many networks with as many")
    figures = [row for group in groups for row in _figures(group)]
    measures = [_measures(group) for group in groups]
    values: dict[str, Any] = {"paragraphs": ABOUT, "drawings": sections(_drawings(groups)), "rows": figures}
    write_html(out, "ensemble.html", title="Ensembles", measures=measures, **values)
    files.write(numbers, csv(groups))
    return figures, measures


def _figures(group: Joined) -> list[dict[str, str]]:
    """Return a row for each member, and one for the ensemble, as printed."""
    named = [*zip([label_of(one) for one in group.members], group.alone, strict=True)]
    return [
        {"network": label} | {one.name: one.show(values[one.key]) for one in FIGURES if one.key in values}
        for label, values in [*named, (group.name, group.together)]
    ]


def _measures(group: Joined) -> dict[str, str]:
    """Return a row with the means over pairs, as printed."""
    average = mean(list(group.pairs.values()))._asdict()
    row = {"network": f"{group.name}, mean over {len(group.pairs)} pair(s)"}
    for key, name in MEASURES.items():
        scale, digits = (100, 2) if name.endswith("%") else (1, 3)
        row[name] = "–" if math.isnan(average[key]) else f"{scale * average[key]:.{digits}f}"
    return row


def csv(groups: Sequence[Joined]) -> str:
    """Return members, ensembles and pairs, unrounded, a line each."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for group in groups:
        paths = [path_of(one) for one in group.members]
        of = {"group": group.name}
        lines += [{**of, "of": "member", "network": p, **v} for p, v in zip(paths, group.alone, strict=True)]
        lines.append({**of, "of": "ensemble", **group.together})
        lines += [
            {**of, "of": "pair", "network": paths[i], "other": paths[j], **found._asdict()}
            for (i, j), found in group.pairs.items()
        ]
        lines.append({**of, "of": "mean over pairs", **mean(list(group.pairs.values()))._asdict()})
    return str(pd.DataFrame(lines).to_csv(index=False))


def _drawings(groups: Sequence[Joined]) -> list[go.Figure]:
    """Draw errors of members and ensembles, and the diversity of pairs."""
    errors = go.Figure(layout={"title": "Test error of each network and of all together"})
    apart = go.Figure(layout={"title": "Diversity: means over pairs", "barmode": "group"})
    for i, group in enumerate(groups):
        colour, name = COLOURS[i % len(COLOURS)], plain(group.name)
        places = [f"{name}: {n + 1}" for n in range(len(group.members))]
        heights = [100 * one["error"] for one in group.alone]
        errors.add_bar(x=places, y=heights, name=f"{name}, alone", marker={"color": colour, "opacity": 0.5})
        errors.add_bar(x=[name], y=[100 * group.together["error"]], name=f"{name}, together", marker={"color": colour})
        average = mean(list(group.pairs.values()))._asdict()
        apart.add_bar(
            x=[shown.removesuffix(" %") for shown in MEASURES.values()],
            y=[average[key] for key in MEASURES],
            name=name,
            marker={"color": colour},
        )
    errors.update_yaxes(title="error %", rangemode="tozero")
    apart.update_yaxes(title="share, or coefficient")
    return [errors, apart]
