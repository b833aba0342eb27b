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


class Member(NamedTuple):
    """A network of an ensemble.

    Attributes:
        network: it.
        which: its weights.
    """

    network: FinishedRun
    which: Which


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
    members: list[Member]
    alone: list[dict[str, float]]
    together: dict[str, float]
    pairs: dict[tuple[int, int], Diversity]


def members_of(runs: Sequence[Path], sequence: bool, which: Which) -> list[Member]:
    """Return the networks of an ensemble.

    Args:
        runs: run folders, folders of run folders, or RUN/student-1.
        sequence: also take who led to each, teacher by teacher: the student and the weights that taught.
        which: the weights of those that are named.

    Raises:
        LimbeckError: no finished runs; one network twice, or one alone; a teacher's answers are not kept.
    """
    found: list[Member] = []
    for run in runs:
        places = dict.fromkeys(one.folder for one in read_runs([run])) if run.is_dir() else [run]
        for place in places:
            whole = [one for one in read_students(place) if one.student != ENSEMBLE] if run.is_dir() else []
            named = whole or [read_student(place)]
            found += _teachers(named[0].folder) if sequence else []
            found += [Member(one, which) for one in named]
    keys = [(Path(path_of(one.network)).resolve(), one.which) for one in found]
    if twice := [path_of(one.network) for one, key in zip(found, keys, strict=True) if keys.count(key) > 1]:
        raise LimbeckError(f"{twice[0]} is in the ensemble twice: name each network once")
    if len(found) < 2:
        raise LimbeckError(f"an ensemble has at least two networks, and here is {len(found)}")
    return found


def _teachers(run: Path) -> list[Member]:
    """Return who led to a run, as they taught."""
    found: list[Member] = []
    for choice in lineage(run):
        taught = Path(str(choice.run))
        if choice.which not in {"last", "best"}:
            raise LimbeckError(
                f"{taught} taught with its weights {choice.which}, and a run keeps the answers of its last and best "
                "weights alone: leave --sequence out"
            )
        student = taught if choice.student is None else taught / f"student-{choice.student}"
        found.append(Member(read_student(student), "best" if choice.which == "best" else "last"))
    return found


def join(name: str, members: Sequence[Member]) -> Joined:
    """Return what networks say together, and how differently they err.

    Raises:
        LimbeckError: damaged files, or different test sets.
    """
    check_same_test([one.network for one in members])
    said = [_said(one) for one in members]
    for one, other in zip(members, said, strict=True):
        if not np.array_equal(other.ids, said[0].ids) or other.logits.shape != said[0].logits.shape:
            first = members[0].network.folder
            raise LimbeckError(f"{first} and {one.network.folder} answered other images, or have other classes")
    together = ensemble(said)
    alone = [summary(one.logits, one.labels) for one in said]
    pairs = pairwise([right(one.logits, one.labels) for one in said])
    return Joined(name, list(members), alone, summary(together.logits, together.labels), pairs)


def _said(member: Member) -> Predictions:
    network, which = member
    if which not in network.results:
        raise LimbeckError(f"{network.folder} has no {which} weights: it was trained without a validation split")
    return read_predictions(network.folder, network.student, which)


def write_ensembles(groups: Sequence[Joined], out: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Write the page and the numbers beside it, and return the rows of figures and those of diversity.

    Raises:
        LimbeckError: the groups have other test sets or numbers of members; a name that is no page's.
    """
    numbers = numbers_file(out)
    check_same_test([group.members[0].network for group in groups])
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
    labels = [f"{label_of(one.network)}, {one.which} weights" for one in group.members]
    named = [*zip(labels, group.alone, strict=True)]
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
        paths = [path_of(one.network) for one in group.members]
        of = {"group": group.name}
        lines += [
            {**of, "of": "member", "network": path, "weights": one.which, **values}
            for path, one, values in zip(paths, group.members, group.alone, strict=True)
        ]
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
        errors.add_bar(x=places, y=heights, name=f"{name}, alone", marker={"color": colour}, opacity=0.5)
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
