"""The picture of relevance: where in a test image each network's answer comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from limbeck import files
from limbeck.analysis.confidence import probabilities
from limbeck.analysis.relevance import Through, relevance, require_zennit
from limbeck.core.batch import Batch
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.recipes.rerun import teachers, test_examples
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import numbers_file, write_html
from limbeck.report.pictures import AGAINST, FOR, heat, photograph, png
from limbeck.report.split import split_of
from limbeck.report.students import check_same_test, label_of, path_of, read_students, tested_on
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.teacher import Inputs, Teacher
from limbeck.train.runtime import Runtime

WHOLE = "whole"
ABOUT = (
    "Each map says where in the image the logit of the class that the network names comes from, by layer-wise "
    "relevance propagation: the relevance of all pixels and channels sums up to the logit. Orange speaks for the "
    "class, blue against it. All maps of a row have one scale, symmetric about 0; its end is below the image.",
    "“inherits” and “explores” are what comes through the one part and the other of the channels of a layer, which is "
    "named; the two add up to the whole map. Below them stands which part of the logit that is.",
)


class Column(NamedTuple):
    """The maps of one network, or of one part of its channels.

    Attributes:
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        part: whole, inherits or explores.
        layer: whose channels are meant; empty for the whole.
        logits: float64 [N, K].
        maps: relevance of each pixel, summed over the channels, float64 [N, H, W].
    """

    path: str
    label: str
    part: str
    layer: str
    logits: Float64[np.ndarray, "images classes"]
    maps: Float64[np.ndarray, "images height width"]


def write_relevance(runs: Sequence[Path], overrides: Sequence[str], out: Path, *, count: int, accelerator: str) -> None:
    """Write a page of test images and, for each student of each run, its map; and their numbers beside it.

    Args:
        runs: finished runs that were tested on the same images, which are those of the first one's recipe.
        overrides: `data.key=value`, where the first run's data have moved.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.
        count: how many images, the first ones of the test set by id.
        accelerator: where to run.

    Raises:
        LimbeckError: no finished runs, weights missing or damaged, different test sets; the images are others now; a
            network through which relevance cannot be followed; zennit is missing; a name that is no page's.
    """
    require_zennit()
    table = numbers_file(out)
    students = [[one for one in read_students(run) if one.student != ENSEMBLE] for run in runs]
    check_same_test([of[0] for of in students])
    device = Runtime(accelerator, devices=1, nodes=1).device
    test = test_examples(runs[0], overrides, device)
    if test.fingerprint != tested_on(students[0][0]):
        raise LimbeckError(
            f"the test images of {runs[0]} are not those that it was tested on: give data.source.root=..."
        )
    inputs = Inputs(test.classes, test.shape[0], test.mean, test.std)
    batch = next(iter(test.in_order(count)))
    columns: list[Column] = []
    for run, of in zip(runs, students, strict=True):
        networks = teachers(run, "last", inputs, device)
        columns += [column for one in of for column in _columns(one, networks[one.student], batch.images())]
    values: dict[str, Any] = {
        "paragraphs": ABOUT if any(column.part != WHOLE for column in columns) else ABOUT[:1],
        "columns": columns,
        "colours": (AGAINST, FOR),
        "rows": list(_rows(columns, batch, test)),
    }
    write_html(out, "relevance.html", title="Relevance", **values)
    files.write(table, csv(columns, batch, test))


def csv(columns: Sequence[Column], batch: Batch, test: Examples) -> str:
    """Return a line for each image and map: what the network says, its logit, the map's sum, and how far off it is."""
    import pandas as pd

    lines = []
    for i, (image, label) in enumerate(zip(batch.ids.tolist(), batch.labels.tolist(), strict=True)):
        for column in columns:
            said, logits = int(column.logits[i].argmax()), column.logits[i]
            total = float(column.maps[i].sum())
            lines.append(
                {
                    "image": image,
                    "network": column.path,
                    "part": column.part,
                    "true": test.classes[label],
                    "predicted": test.classes[said],
                    "probability": float(probabilities(logits[None])[0, said]),
                    "logit": float(logits[said]),
                    "relevance": total,
                    "gap": abs(total - float(logits[said])) if column.part == WHOLE else None,
                }
            )
    return str(pd.DataFrame(lines).to_csv(index=False))


def _columns(student: FinishedRun, network: Teacher, views: Tensor) -> Iterator[Column]:
    """Yield the whole map of a student and, if its channels are split, what comes through each part."""
    logits = network(views).logits
    path, label = path_of(student), label_of(student)
    split = split_of(student.folder, student.student)
    parts: dict[str, Through | None] = {WHOLE: None}
    if split is not None:
        halves = {"inherits": split.inherit, "explores": split.explore}
        parts |= {part: (split.layer, channels) for part, channels in halves.items() if len(channels)}
    for part, through in parts.items():
        try:
            maps = relevance(network.net, network.normalised(views), logits.argmax(1), through=through)
        except LimbeckError as error:
            raise LimbeckError(f"{path}: {error}") from error
        layer = "" if through is None else through[0]
        yield Column(path, label, part, layer, _array(logits), _array(maps).sum(1))


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().double().numpy()


def _rows(columns: Sequence[Column], batch: Batch, test: Examples) -> Iterator[dict[str, Any]]:
    """Yield what a row of the page shows: an image, and the maps of it on one scale."""
    views = _array(batch.images())
    for i, (image, label) in enumerate(zip(batch.ids.tolist(), batch.labels.tolist(), strict=True)):
        largest = max(float(np.abs(column.maps[i]).max()) for column in columns)
        cells = []
        for column in columns:
            said = int(column.logits[i].argmax())
            cells.append(
                {
                    "source": png(heat(column.maps[i], largest)),
                    "predicted": test.classes[said],
                    "percent": f"{100 * probabilities(column.logits[i][None])[0, said]:.1f}",
                    "right": said == label,
                    "share": f"{column.maps[i].sum():.3g} of {column.logits[i, said]:.3g}",
                    "whole": column.part == WHOLE,
                }
            )
        yield {
            "id": image,
            "true": test.classes[label],
            "source": png(photograph(views[i], test.mean, test.std)),
            "largest": f"{largest:.2g}",
            "cells": cells,
        }
