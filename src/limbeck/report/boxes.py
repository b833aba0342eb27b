"""The picture of boxes: what is in test pictures, and beside it what each network finds there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from torchvision.transforms.functional import resize
from torchvision.utils import draw_bounding_boxes

from limbeck import files
from limbeck.analysis.boxes import OVERLAP, Compared, Counts, compared, counts
from limbeck.core.boxes import Found, Truth
from limbeck.errors import LimbeckError
from limbeck.plain import predictions_file
from limbeck.recipes.rerun import evaluated_examples
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import COLOURS, MUTED, numbers_file, write_html
from limbeck.report.networks import chosen
from limbeck.report.pictures import jpeg
from limbeck.report.students import check_same_test, label_of, path_of, tested_on
from limbeck.train.predictions import read_found

# of a drawn picture, whose letters, of ten pixels, are then as large as the page's
_LONGER = 400
RIGHT, WRONG, THERE = COLOURS[0], COLOURS[1], "#00734d"


@runtime_checkable
class BoxPictures(Protocol):
    """What is read of a test set.

    Attributes:
        classes: their names, "background" first.
        names: of the pictures.
        truth: what is in them, in pixels as read.
        fingerprint: of all that.
    """

    classes: tuple[str, ...]
    names: Sequence[str]
    truth: Truth
    fingerprint: str

    def picture(self, example: int, /) -> UInt8[Tensor, "3 height width"]:
        """Return a picture as it is read."""
        ...


class Finder(NamedTuple):
    """A network with its boxes of a high enough score.

    Attributes:
        path: RUN, or RUN/student-1.
        label: its name in pictures.
        found: its boxes.
        of: which of them are right.
        counts: of each picture.
    """

    path: str
    label: str
    found: Found
    of: Compared
    counts: Counts


def write_boxes(
    runs: Sequence[Path], overrides: Sequence[str], out: Path, *, count: int, seed: int | None, threshold: float
) -> list[dict[str, str]]:
    """Write a page of test pictures with the boxes that are there and those that each network's last weights find.

    Args:
        runs: finished runs of detectors, or RUN/student-1, that were tested on the same pictures, which are those of
            the first one's recipe.
        overrides: `data.key=value`, where the first run's data have moved.
        out: where the page goes; its numbers, of all test pictures, go beside it, in a CSV file of the same name.
        count: how many pictures.
        seed: draws the pictures; None takes those on which the networks differ most, or of one network draws by 0.
        threshold: boxes of a lower score are left out.

    Returns:
        A row per network, as printed: its boxes in all test pictures.

    Raises:
        LimbeckError: no finished runs, or not of detectors; different test sets; the pictures are others now; a
            picture cannot be read; a name that is no page's.
    """
    table = numbers_file(out)
    students = [student for run in runs for student in chosen(run)]
    said = [read_found(student.folder, student.student) for student in students]
    check_same_test(students)
    test = evaluated_examples(students[0].folder, overrides, "cpu")
    if test.fingerprint != tested_on(students[0]):
        raise LimbeckError(
            f"the test pictures of {students[0].folder} are not those that it was tested on: give data.source.root=..."
        )
    assert isinstance(test, BoxPictures)
    finders = [_finder(student, one, test, threshold) for student, one in zip(students, said, strict=True)]
    drawn_by = 0 if seed is None and len(finders) == 1 else seed
    places = choose([finder.counts for finder in finders], count, drawn_by)
    write_html(
        out,
        "boxes.html",
        title="Boxes",
        paragraphs=_about(threshold, drawn_by),
        colours=(THERE, MUTED, RIGHT, WRONG),
        networks=[finder.label for finder in finders],
        rows=list(_rows(finders, test, places)),
    )
    files.write(table, csv(finders, test, places))
    return [
        {"network": finder.label}
        | {name: str(int(column.sum())) for name, column in zip(Counts._fields, finder.counts, strict=True)}
        for finder in finders
    ]


def choose(each: Sequence[Counts], count: int, seed: int | None) -> Int64[np.ndarray, " chosen"]:
    """Return the places of the pictures that are shown.

    Args:
        each: what each network gets right in each picture.
        count: how many at most.
        seed: draws them, and they come in their order; None takes those in which the numbers of mistakes of two
            networks are farthest apart, those first.
    """
    pictures = len(each[0].right)
    if seed is not None:
        return np.sort(np.random.default_rng(seed).permutation(pictures)[:count])
    mistakes = np.stack([one.mistakes for one in each])
    return np.argsort(-np.ptp(mistakes, axis=0), kind="stable")[:count]


def drawn(
    picture: UInt8[Tensor, "3 height width"],
    boxes: Float32[np.ndarray, "boxes 4"],
    labels: Sequence[str],
    colours: Sequence[str],
) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
    """Return a picture with boxes in it, made so small or so large that labels are as large as a page's letters.

    Args:
        picture: as read.
        boxes: in its pixels; the first ones lie on top.
        labels: of each box.
        colours: of each box, such as "#0072B2".
    """
    height, width = picture.shape[1:]
    scale = _LONGER / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    shown = resize(picture, size, antialias=True)
    if len(boxes):
        places = torch.from_numpy(boxes[::-1] * np.float32(scale))
        places[:, 0::2].clamp_(0, size[1] - 1)
        places[:, 1::2].clamp_(0, size[0] - 1)
        words = [" ".join(label.split()) for label in reversed(labels)]
        shown = draw_bounding_boxes(
            shown, places, words, list(reversed(colours)), width=2, fill_labels=True, label_colors="white"
        )
    return np.ascontiguousarray(shown.permute(1, 2, 0).numpy())


def csv(finders: Sequence[Finder], test: BoxPictures, places: Int64[np.ndarray, " chosen"]) -> str:
    """Return a line for each picture and network: boxes right, wrong and missed, and whether the page shows it."""
    import pandas as pd

    ids = test.truth.ids
    shown = np.isin(np.arange(len(ids)), places)
    columns = {"picture": ids, "name": list(test.names)}
    tables = [
        pd.DataFrame({**columns, "network": finder.path, **finder.counts._asdict(), "shown": shown})
        for finder in finders
    ]
    return str(pd.concat(tables).to_csv(index=False))


def _finder(student: FinishedRun, said: Found, test: BoxPictures, threshold: float) -> Finder:
    known = np.isin(said.pictures, test.truth.ids) & (said.classes > 0) & (said.classes < len(test.classes))
    # also where a side is NaN
    known &= (said.boxes[:, 2:] >= said.boxes[:, :2]).all(axis=1)
    if not known.all():
        path = student.folder / predictions_file(student.student)
        raise LimbeckError(f"{path} is damaged; remove its folder and train again")
    found = Found(*(column[said.scores >= threshold] for column in said))
    of = compared(found, test.truth)
    return Finder(path_of(student), label_of(student), found, of, counts(found, test.truth, of))


def _about(threshold: float, seed: int | None) -> list[str]:
    which = (
        "The pictures are those of the test set in which the networks' numbers of mistakes are farthest apart, so they "
        "say where networks differ, and not how often."
        if seed is None
        else f"The pictures are drawn from the test set by the seed {seed}."
    )
    return [
        f"Boxes of the last weights with a score of at least {threshold:g}. A box is right if it takes a free one of "
        f"its class that it overlaps by {OVERLAP:g} (intersection over union) or more, boxes of higher scores first. "
        "What lies in an ignored box is neither right nor wrong.",
        which,
    ]


def _rows(
    finders: Sequence[Finder], test: BoxPictures, places: Int64[np.ndarray, " chosen"]
) -> Iterator[dict[str, Any]]:
    """Yield what a row of the page shows: a picture with what is there, and with what each network finds."""
    truth = test.truth
    for place in places.tolist():
        identity = int(truth.ids[place])
        picture = test.picture(identity)
        here = truth.pictures == identity
        labels = [
            f"{test.classes[label]} (ignored)" if ignored else test.classes[label]
            for label, ignored in zip(truth.classes[here].tolist(), truth.ignored[here].tolist(), strict=True)
        ]
        colours = np.where(truth.ignored[here], MUTED, THERE).tolist()
        source = jpeg(drawn(picture, truth.boxes[here], labels, colours))
        cells = [_cell(finder, test, picture, identity, place) for finder in finders]
        yield {"name": test.names[place], "boxes": len(labels), "source": source, "cells": cells}


def _cell(
    finder: Finder, test: BoxPictures, picture: UInt8[Tensor, "3 height width"], identity: int, place: int
) -> dict[str, Any]:
    found = finder.found
    here = np.flatnonzero(found.pictures == identity)
    here = here[np.argsort(-found.scores[here], kind="stable")]
    labels = [f"{test.classes[found.classes[at]]} {found.scores[at]:.2f}" for at in here]
    shown = np.where(finder.of.right[here], RIGHT, np.where(finder.of.spared[here], MUTED, WRONG)).tolist()
    missed = finder.of.missed & (test.truth.pictures == identity)
    return {
        "network": finder.label,
        "source": jpeg(drawn(picture, found.boxes[here], labels, shown)),
        "right": int(finder.counts.right[place]),
        "wrong": int(finder.counts.wrong[place]),
        "missed": _names(missed, test),
    }


def _names(missed: Bool[np.ndarray, " boxes"], test: BoxPictures) -> list[str]:
    return [test.classes[label] for label in test.truth.classes[missed].tolist()]
