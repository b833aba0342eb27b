"""The picture of mistakes: which classes networks take for which, from the answers that runs left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64, Int64

from limbeck import files
from limbeck.analysis.confusion import confusion, most_confused, shares
from limbeck.errors import LimbeckError
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import numbers_file, plain, sections, write_html
from limbeck.report.students import check_same_test, class_names, label_of, path_of, read_student, read_students
from limbeck.train.predictions import read_predictions

# pairs of each network in the table, and classes in a picture
_PAIRS, _SHOWN = 10, 200
# classes whose counts are written into the cells
_WRITTEN = 20
ABOUT = (
    "A row is a true class, a column what it was taken for (last weights). Colours are shares of the true class; "
    "they change fastest near 0, where mistakes are.",
)
# steep near 0, so that rare mistakes are seen beside the diagonal
_SHADES = [[0, "#ffffff"], [0.02, "#d6e8f3"], [0.1, "#8cc0de"], [0.4, "#3a87bd"], [1, "#0b3c66"]]


class Answered(NamedTuple):
    """What a network said of the test images.

    Attributes:
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        matrix: how often each class (row) was taken for each class.
    """

    path: str
    label: str
    matrix: Int64[np.ndarray, "classes classes"]


def write_confusion(runs: Sequence[Path], out: Path) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: RUN for all of its students and their ensemble, or RUN/student-1; tested on the same images.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.

    Raises:
        LimbeckError: no finished runs, damaged files, different test sets or classes, a name that is no page's.
    """
    numbers = numbers_file(out)
    students = [one for run in runs for one in _networks(run)]
    check_same_test(students)
    found = [measure(one) for one in students]
    for other in found[1:]:
        if not np.array_equal(other.matrix.sum(axis=1), found[0].matrix.sum(axis=1)):
            raise LimbeckError(
                f"{found[0].path} and {other.path} have different test sets: give runs with the same one"
            )
    classes = len(found[0].matrix)
    names = class_names(students[0], classes)
    rows = _rows(found, names)
    kept = _kept(found)
    about = list(ABOUT)
    if len(kept) < classes:
        about.append(
            f"Of the {classes} classes the pictures have the {len(kept)} with the most mistakes; the CSV has all."
        )
    drawings = [_drawing(one, names, kept) for one in found]
    if len(found) == 2:
        drawings.append(_difference(found[0], found[1], names, kept))
    values: dict[str, Any] = {"paragraphs": about, "drawings": sections(drawings), "rows": rows}
    write_html(out, "analysis.html", title="Which classes are taken for which", **values)
    files.write(numbers, csv(found, names))
    return rows


def measure(student: FinishedRun) -> Answered:
    """Return what a network took for what.

    Raises:
        LimbeckError: its answers are missing or damaged.
    """
    said = read_predictions(student.folder, student.student)
    matrix = confusion(said.logits.argmax(axis=1), said.labels, said.logits.shape[1])
    return Answered(path_of(student), label_of(student), matrix)


def _networks(path: Path) -> list[FinishedRun]:
    """Return all networks of RUN, or the one that RUN/student-1 names."""
    if path.is_dir() or not (path.parent / "results.json").exists():
        return read_students(path)
    return [read_student(path)]


def _kept(found: Sequence[Answered]) -> Int64[np.ndarray, " shown"]:
    """Return the classes that are drawn, ascending: all, or of too many those with the most mistakes."""
    total = np.sum([one.matrix for one in found], axis=0)
    mistakes = total.sum(axis=0) + total.sum(axis=1) - 2 * total.diagonal()
    return np.sort(np.argsort(-mistakes, kind="stable")[:_SHOWN])


def _rows(found: Sequence[Answered], names: Sequence[str]) -> list[dict[str, str]]:
    """Return a row for each of the most frequent mistakes of any network, the most frequent first."""
    pairs = {(pair.truth, pair.said) for one in found for pair in most_confused(one.matrix, _PAIRS)}
    rows = []
    for truth, said in sorted(pairs, key=lambda pair: (-max(int(one.matrix[pair]) for one in found), pair)):
        row = {"class taken for another": f"{names[truth]} → {names[said]}"}
        for one in found:
            times = int(one.matrix[truth, said])
            row[one.label] = f"{times} ({100 * times / one.matrix[truth].sum():.1f} %)"
        if len(found) == 2:
            row["difference"] = f"{int(found[1].matrix[truth, said] - found[0].matrix[truth, said]):+d}"
        rows.append(row)
    return rows or [{"class taken for another": "none", **{one.label: "0" for one in found}}]


def csv(found: Sequence[Answered], names: Sequence[str]) -> str:
    """Return every cell that is not 0, a line each; `share` is that of the true class, unrounded."""
    import pandas as pd

    lines = [
        {
            "network": one.path,
            "true": truth,
            "said": said,
            "true_class": names[truth],
            "said_class": names[said],
            "count": one.matrix[truth, said],
            "share": part[truth, said],
        }
        for one in found
        for part in [shares(one.matrix)]
        for truth, said in zip(*(axis.tolist() for axis in one.matrix.nonzero()), strict=True)
    ]
    return str(pd.DataFrame(lines).to_csv(index=False))


def _drawing(one: Answered, names: Sequence[str], kept: Int64[np.ndarray, " shown"]) -> go.Figure:
    """Draw a network's shares; counts are on hover, and in the cells where there is room."""
    cells = np.ix_(kept, kept)
    counts, percent = one.matrix[cells], 100 * shares(one.matrix)[cells]
    return _heatmap(
        f"{one.label}",
        [names[k] for k in kept],
        percent,
        counts,
        {"zmin": 0, "zmax": 100, "colorscale": _SHADES},
        "%{y} → %{x}<br>%{text} images, %{z:.2f} % of the class<extra></extra>",
    )


def _difference(
    first: Answered, second: Answered, names: Sequence[str], kept: Int64[np.ndarray, " shown"]
) -> go.Figure:
    """Draw by how much the second network's shares are higher."""
    cells = np.ix_(kept, kept)
    percent = 100 * (shares(second.matrix) - shares(first.matrix))[cells]
    reach = max(1e-9, float(np.nanmax(np.abs(percent))))
    return _heatmap(
        f"Difference: {second.label} minus {first.label}, in points",
        [names[k] for k in kept],
        percent,
        (second.matrix - first.matrix)[cells],
        {"zmin": -reach, "zmax": reach, "colorscale": "RdBu_r"},
        "%{y} → %{x}<br>%{text} images, %{z:+.2f} points of the class<extra></extra>",
    )


def _heatmap(
    title: str,
    names: Sequence[str],
    percent: Float64[np.ndarray, "shown shown"],
    counts: Int64[np.ndarray, "shown shown"],
    colours: dict[str, Any],
    hover: str,
) -> go.Figure:
    few = len(names) <= _WRITTEN
    height = 190 + 34 * len(names) if few else 850
    drawing = go.Figure(layout={"title": title, "height": max(height, 420)})
    labels = [plain(name) for name in names]
    drawing.add_heatmap(
        x=labels,
        y=labels,
        z=[[None if np.isnan(value) else round(float(value), 4) for value in row] for row in percent],
        text=counts.tolist(),
        texttemplate="%{text}" if few else None,
        colorbar={"title": "%"},
        hoverongaps=False,
        hovertemplate=hover,
        **colours,
    )
    drawing.update_xaxes(title="taken for", type="category", constrain="domain")
    drawing.update_yaxes(title="true class", type="category", autorange="reversed")
    return drawing
