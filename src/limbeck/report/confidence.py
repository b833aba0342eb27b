"""The picture of confidence: what two networks say of the same test images, side by side (PS-KD's figure)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from limbeck.analysis.confidence import both_wrong, most_uncertain, probabilities, top
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.recipes.rerun import test_examples
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import write_html
from limbeck.report.pictures import photograph, png
from limbeck.report.students import check_same_test, label_of, path_of, read_student, tested_on
from limbeck.tasks.classification import Predictions
from limbeck.train.predictions import read_predictions

SHOWN = 5


def write_confidence(first: Path, second: Path, overrides: Sequence[str], count: int, out: Path) -> None:
    """Write a page of test images with the most probable classes of two networks' last weights.

    Args:
        first: a finished run, or RUN/student-1 of a run of several students; the images are those of its recipe.
        second: another that was tested on the same images.
        overrides: `data.key=value`, where the first run's data have moved.
        count: images in each of the two parts.
        out: where the page goes.

    Raises:
        LimbeckError: no finished runs; they were tested on different images or classes; the images are others now.
    """
    networks = [read_student(first), read_student(second)]
    names = [label_of(network) for network in networks]
    said = [read_predictions(network.folder, network.student) for network in networks]
    _same_test(networks, said)
    test = test_examples(networks[0].folder, overrides, "cpu")
    if test.fingerprint != tested_on(networks[0]):
        raise LimbeckError(f"the test images of {first} are not those that it was tested on: give data.source.root=...")
    labels = said[0].labels
    probs = [probabilities(of.logits) for of in said]
    wrong, unsure = both_wrong(probs[0], probs[1], labels, count), most_uncertain(probs[0], count)
    sources = _images(test, set(np.concatenate([wrong, unsure]).tolist()))

    def entry(index: int) -> dict[str, Any]:
        truth = int(labels[index])
        answers = [_bars(of[index], truth, test.classes) for of in probs]
        return {
            "id": int(said[0].ids[index]),
            "truth": test.classes[truth],
            "source": sources[index],
            "said": list(zip(names, answers, strict=True)),
        }

    about = [
        f"Each image of the test set has the {min(SHOWN, len(test.classes))} most probable classes of two networks "
        "(last weights) and, in blue and with a tick, the true one, wherever it stands.",
        f"Left or above: {names[0]}. Right or below: {names[1]}.",
    ]
    parts = [
        ("Wrong in both, the surest errors first", [entry(index) for index in wrong.tolist()]),
        (f"Highest entropy of {names[0]}: images that look like several classes", list(map(entry, unsure.tolist()))),
    ]
    write_html(out, "confidence.html", title="Confidence", paragraphs=about, parts=parts)


def _same_test(networks: Sequence[FinishedRun], said: Sequence[Predictions]) -> None:
    """Check that both were tested on the same images of the same classes."""
    one, other = said
    first, second = map(path_of, networks)
    if one.logits.shape[1] != other.logits.shape[1]:
        raise LimbeckError(
            f"{first} tells {one.logits.shape[1]} classes apart, {second} {other.logits.shape[1]}: "
            "give two runs with the same test set"
        )
    if not np.array_equal(one.ids, other.ids) or not np.array_equal(one.labels, other.labels):
        raise LimbeckError(f"{first} and {second} have different test sets: give runs with the same one")
    check_same_test(networks)


def _images(test: Examples, wanted: set[int]) -> dict[int, str]:
    """Return images by their position in the test set, as PNG in data URIs."""
    found: dict[int, str] = {}
    start = 0
    for batch in test.in_order(500):
        for index in sorted(index - start for index in wanted if start <= index < start + len(batch.ids)):
            found[start + index] = png(photograph(batch.images()[index].double().numpy(), test.mean, test.std))
        start += len(batch.ids)
        if len(found) == len(wanted):
            break
    return found


def _bars(row: Float64[np.ndarray, " classes"], truth: int, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most probable classes, and the true one below them where it is not among them."""
    shown: Int64[np.ndarray, " shown"] = top(row, SHOWN)
    listed = shown.tolist() if truth in shown else [*shown.tolist(), truth]
    return [{"name": classes[k], "percent": f"{100 * row[k]:.1f}", "true": k == truth} for k in listed]
