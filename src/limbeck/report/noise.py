"""The picture of robustness: test error against the noise that is added to the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64, Int, Int64
from torch import Tensor, nn

from limbeck import files
from limbeck.analysis.noise import wrong_under_noise
from limbeck.core.batch import Output
from limbeck.data import draws as numbers
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.recipes.rerun import test_examples, trained
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import line, numbers_file, plain, sections, write_html
from limbeck.report.students import check_same_test, label_of, path_of, read_students, tested_on
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.teacher import Inputs
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

DEVIATIONS = tuple(i / 100 for i in range(16))
# of noise at once: what it is made of takes some 50 bytes a number
_BLOCK_NUMBERS = 2**24
ABOUT = (
    "Independent Gaussian noise of standard deviation d is added to every pixel and channel of the test images, in "
    "units of pixels in [0, 1], before normalisation; nothing is clipped. Every network (last weights) sees the same "
    "noise.",
    "Lines are means over the draws of the noise, bars one standard deviation over them to both sides.",
)


class Curve(NamedTuple):
    """One network, or the mean of several networks' probabilities.

    Attributes:
        path: RUN, RUN/student-1, or RUN/ensemble.
        label: its name in pictures.
        wrong: number of wrong answers, int64 [D, draws].
        images: number of images.
    """

    path: str
    label: str
    wrong: Int64[np.ndarray, "deviations draws"]
    images: int

    @property
    def mean(self) -> Float64[np.ndarray, " deviations"]:
        """The error, over the draws."""
        return np.asarray(self.wrong.mean(axis=1) / self.images)

    @property
    def deviation(self) -> Float64[np.ndarray, " deviations"]:
        """Of the error over the draws, as of a sample; NaN for a single one."""
        if self.wrong.shape[1] < 2:
            return np.full(len(self.wrong), np.nan)
        return np.asarray(self.wrong.std(axis=1, ddof=1) / self.images)


def write_noise(
    runs: Sequence[Path],
    overrides: Sequence[str],
    out: Path,
    display: Display,
    *,
    draws: int,
    seed: int,
    accelerator: str,
) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: finished runs that were tested on the same images, which are those of the first one's recipe.
        overrides: `data.key=value`, where the first run's data have moved.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.
        display: shows how far it is.
        draws: of the noise, for each deviation.
        seed: of the noise.
        accelerator: where to run.

    Raises:
        LimbeckError: no finished runs, weights missing or damaged, different test sets; the images are others now; a
            name that is no page's.
    """
    table = numbers_file(out)
    students = [read_students(run) for run in runs]
    check_same_test([of[0] for of in students])
    device = Runtime(accelerator, devices=1, nodes=1).device
    test = test_examples(runs[0], overrides, device)
    if test.fingerprint != tested_on(students[0][0]):
        raise LimbeckError(
            f"the test images of {runs[0]} are not those that it was tested on: give data.source.root=..."
        )
    inputs = Inputs(test.classes, test.shape[0], test.mean, test.std)
    groups = [list(trained(run, "last", inputs, device).values()) for run in runs]
    counts = measure(groups, test, draws, seed, display)
    lines = [one for of in students for one in of]
    curves = [Curve(path_of(one), _label(one), wrong, test.count) for one, wrong in zip(lines, counts, strict=True)]
    rows = _rows(curves)
    values: dict[str, Any] = {
        "paragraphs": [*ABOUT, f"Draws of the noise: {draws}, of seed {seed}."],
        "drawings": sections([_drawing(curves)]),
        "rows": rows,
    }
    write_html(out, "analysis.html", title="Test error under noise", **values)
    files.write(table, csv(curves))
    return rows


def measure(
    groups: Sequence[Sequence[nn.Module]], test: Examples, draws: int, seed: int, display: Display
) -> Int64[np.ndarray, "lines deviations draws"]:
    """Count the wrong answers of each network, and of each group of several together.

    The noise of an image is a function of seed, draw and the image's id alone, scaled by the deviation, so neither the
    networks beside it nor the size of batches change it. An image is read once.

    Args:
        groups: networks on the device of the images, from a view to logits or to an `Output`.
        test: the images.
        draws: of the noise, for each of `DEVIATIONS`.
        seed: of the noise.
        display: shows how many images are done.
    """
    asked = [[partial(_logits, network) for network in group] for group in groups]
    size = int(np.prod(test.shape))
    total: Tensor | None = None
    done = 0
    with display.run("noise", test.count, unit="image"):
        for batch in test.in_order(max(1, min(500, _BLOCK_NUMBERS // size))):
            noise = partial(_noise, seed, batch.ids, test.shape)
            wrong = wrong_under_noise(asked, batch.images(), batch.labels, noise, draws, DEVIATIONS, test.std)
            total = wrong if total is None else total + wrong
            done += len(batch.ids)
            display.advance(done, {})
    assert total is not None
    return np.asarray(total.cpu().numpy())


def _logits(network: nn.Module, view: Tensor) -> Tensor:
    answer = network(view)
    return answer.logits if isinstance(answer, Output) else answer


def _noise(seed: int, ids: Int[Tensor, " batch"], shape: tuple[int, int, int], draw: int) -> Tensor:
    return numbers.normal(seed, draw, 0, ids, int(np.prod(shape)), stream=numbers.NOISE).view(-1, *shape)


def _label(student: FinishedRun) -> str:
    """Return a line's name; a run's own ensemble may be another than the mean that is measured here."""
    if student.student != ENSEMBLE:
        return label_of(student)
    return f"{path_of(student)} (mean of probabilities, {student.recipe['method']['name']})"


def _rows(curves: Sequence[Curve]) -> list[dict[str, str]]:
    """Return a row for each network: error in %, mean ± standard deviation over the draws, at every third deviation."""
    rows = []
    for curve in curves:
        row = {"test error % at d =": curve.label}
        for i in range(0, len(DEVIATIONS), 3):
            spread = "" if np.isnan(curve.deviation[i]) or i == 0 else f" ± {100 * curve.deviation[i]:.2f}"
            row[f"{DEVIATIONS[i]:g}"] = f"{100 * curve.mean[i]:.2f}{spread}"
        rows.append(row)
    return rows


def csv(curves: Sequence[Curve]) -> str:
    """Return every network and deviation, unrounded, a line each: mean, standard deviation, and each draw's share."""
    import pandas as pd

    lines = [
        {"network": curve.path, "noise": deviation, "mean": curve.mean[i], "std": curve.deviation[i]}
        | {f"draw_{draw}": error for draw, error in enumerate(curve.wrong[i] / curve.images)}
        for curve in curves
        for i, deviation in enumerate(DEVIATIONS)
    ]
    return str(pd.DataFrame(lines).to_csv(index=False))


def _drawing(curves: Sequence[Curve]) -> go.Figure:
    """Draw error against the noise, a line for each network."""
    drawing = go.Figure(layout={"title": "Test error against noise"})
    for i, curve in enumerate(curves):
        several = curve.wrong.shape[1] > 1
        drawing.add_scatter(
            x=np.array(DEVIATIONS),
            y=100 * curve.mean,
            error_y={"type": "data", "array": 100 * curve.deviation, "thickness": 1, "width": 3} if several else None,
            mode="lines+markers",
            name=plain(curve.label),
            line=line(i),
        )
    drawing.update_xaxes(title="standard deviation of the noise, pixels in [0, 1]")
    drawing.update_yaxes(title="error %", rangemode="tozero")
    return drawing
