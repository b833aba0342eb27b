"""The pages of `limbeck analyze`: whole files that work offline, in which a user's words are words."""

import base64
import csv
import io
import json
import math

import numpy as np
import pytest
import torch
import yaml
from pages import Tags
from PIL import Image

from limbeck.analysis.softening import softening
from limbeck.data.examples import Members
from limbeck.data.resident import ResidentExamples
from limbeck.errors import LimbeckError
from limbeck.report import confidence, rescaling
from limbeck.report.confidence import write_confidence
from limbeck.report.rescaling import read_points, write_rescaling
from limbeck.report.softening import TEMPERATURES, write_softening

EVIL = "<img src=x onerror=alert(1)>"


def offline(text):
    """Check that nothing is loaded from anywhere, and return the tags."""
    tags = Tags(text)
    assert {tag for tag, _ in tags.found} & {"link", "iframe", "object", "embed"} == set()
    sources = [attributes["src"] for _, attributes in tags.found if "src" in attributes]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not any(str(value).startswith(("http:", "https:", "//")) for _, a in tags.found for value in a.values())
    return tags


@pytest.fixture
def traced(finished):
    """Return a function that writes a finished run with a trace of so many epochs."""

    def write(name="run", epochs=8, formula=True):
        folder = finished(name)
        lines = []
        for epoch in range(1, epochs + 1):
            line = {"epoch": epoch, "error": 0.1}
            for group in range(1, 6):
                line |= {f"rescaling/{group}/p_true": 1 - group / 10, f"rescaling/{group}/ratio": epoch / group}
                if formula:
                    line |= {f"rescaling/{group}/formula": -epoch / group, f"rescaling/{group}/holds": 0.25}
            lines.append(json.dumps(line))
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    return write


def test_the_rescaling_page_has_lines_with_dashed_formulas_and_its_table_the_last_epoch(traced):
    folder = traced()
    rows = write_rescaling(folder)
    assert [row["epoch"] for row in rows[::5]] == ["2", "4", "6", "8"]
    assert rows[-1] == {
        "epoch": "8",
        "group": "5, hardest",
        "p of the true class": "0.500",
        "gradient ratio": "1.600",
        "formula": "-1.600",
        "condition holds %": "25.0",
    }
    text = (folder / "rescaling.html").read_text()
    assert text.count("Plotly.newPlot(") == 3
    assert text.count('"dash":"dash"') == 5
    words = "".join(offline(text).text)
    assert "Rescaling of the gradient: run" in words
    assert "1 - α γ(t-1) / γ(t)" in words
    with (folder / "rescaling.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    assert lines[7] == {"epoch": "2", "group": "3", "p_true": "0.7", "ratio": repr(2 / 3), "formula": repr(-2 / 3),
                        "holds": "0.25"}  # fmt: skip


def test_a_method_without_the_formula_has_none_on_its_page(traced):
    folder = traced(epochs=1, formula=False)
    rows = write_rescaling(folder)
    assert set(rows[0]) == {"epoch", "group", "p of the true class", "gradient ratio"}
    text = (folder / "rescaling.html").read_text()
    assert text.count("Plotly.newPlot(") == 2
    assert '"dash":"dash"' not in text
    assert (folder / "rescaling.csv").read_text().splitlines()[1] == "1,1,0.9,1.0,,"


@pytest.mark.parametrize(
    ("recipe", "command"),
    [
        ({}, "limbeck train {run}/recipe.yaml training.trace=true --folder ANOTHER"),
        ({"stages": ["teacher", "pupil"]}, "limbeck train {run}/recipe.yaml stages.pupil.training.trace=true"),
        ({"data": {"source": "Photos"}}, 'limbeck.distil(..., training={{"trace": True}}, folder=ANOTHER)'),
    ],
)
def test_a_run_without_a_trace_says_how_to_get_one(finished, recipe, command):
    folder = finished("run", recipe={key: value for key, value in recipe.items() if key != "stages"})
    if "stages" in recipe:
        whole = yaml.safe_load((folder / "recipe.yaml").read_text())
        (folder / "recipe.yaml").write_text(
            yaml.safe_dump({"stages": dict.fromkeys(recipe["stages"], whole)}, sort_keys=False)
        )
    with pytest.raises(LimbeckError) as error:
        read_points(folder)
    assert "has no trace of its gradient; get one by training it again: " in str(error.value)
    assert command.format(run=folder) in str(error.value)


def test_every_epoch_is_shown_where_there_are_few(traced):
    points = read_points(traced(epochs=3))
    assert [row["epoch"] for row in rescaling.table(points)[::5]] == ["1", "2", "3"]


def test_the_softening_page_is_what_the_functions_say(finished):
    folder = finished("run")
    rows = write_softening(folder)
    with np.load(folder / "predictions.npz") as arrays:
        found = softening(torch.from_numpy(arrays["logits"]), TEMPERATURES)
    assert [row["T"] for row in rows] == ["1", "2", "4", "8", "16", "32", "64"]
    assert rows[2]["network: total variation"] == f"{float(found.total_variation[4]):.4f}"
    assert rows[0]["virtual teacher: total variation"] == f"{0.99 - 1 / 4:.4f}"
    with (folder / "softening.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(TEMPERATURES)
    assert float(lines[0]["entropy"]) == float(found.entropy[0])
    expected = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01 / 3)) / math.log(4)
    assert float(lines[len(TEMPERATURES)]["entropy"]) == pytest.approx(expected, rel=1e-6)
    text = (folder / "softening.html").read_text()
    assert text.count("Plotly.newPlot(") == 3
    assert text.count('"type":"log"') == 5
    offline(text)


@pytest.fixture
def images(monkeypatch):
    """Return a function that makes 40 images of so many channels the test set of every run: pixel i of image i is i."""

    def make(channels=1, classes=tuple("abcd")):
        pixels = torch.zeros(40, channels, 7, 7, dtype=torch.uint8)
        for i in range(40):
            pixels[i, :, i // 7, i % 7] = torch.arange(channels, dtype=torch.uint8) * 50 + i
        members = Members(np.arange(40), np.arange(40) % 4, 40, classes)
        mean, std = (0.4,) * channels, (0.3,) * channels
        test = ResidentExamples(pixels, members, mean=mean, std=std, views=(), mix=None, device="cpu")
        monkeypatch.setattr(confidence, "test_examples", lambda run, overrides, device: test)
        return test, pixels

    return make


def decoded(source):
    content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    pixels = np.array(Image.open(io.BytesIO(content)))
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels).transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_confidence_page_has_the_images_themselves_and_both_answers(finished, images, tmp_path, channels):
    test, pixels = images(channels)
    runs = [finished(name, seed, test=test.fingerprint) for seed, name in enumerate(["a", "b"])]
    # both say "d" of images 0 and 4, whose class is "a"; the true class is the last of both
    for run in runs:
        with np.load(run / "predictions.npz") as arrays:
            found = dict(arrays)
        found["logits"] = np.eye(4, dtype=np.float32)[found["labels"]] * 9
        found["logits"][[0, 4]] = [[0, 1, 2, 3], [0, 2, 4, 6]]
        np.savez(run / "predictions.npz", **found)
    write_confidence(runs[0], runs[1], [], 3, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    tags = offline(text)
    shown = [attributes for tag, attributes in tags.found if tag == "img"]
    assert [image["alt"] for image in shown[:2]] == ["test image 4", "test image 0"]
    # the surest errors are also the least sure answers: all others are right and sure
    assert [image["alt"] for image in shown[2:4]] == ["test image 0", "test image 4"]
    assert len(shown) == 5
    for image in shown:
        assert np.array_equal(decoded(image["src"]), pixels[int(image["alt"].split()[-1])].numpy())
    words = [word.strip() for word in tags.text if word.strip()]
    assert "64.4 %" in words
    assert words.count("a ✓") == 8
    assert "There is none." not in words


def test_class_names_and_folders_are_escaped_and_no_error_is_said_so(finished, images, tmp_path):
    test, _ = images(classes=(EVIL, "b", "c", "d"))
    runs = [finished(name, test=test.fingerprint) for name in (f"{EVIL}1", f"{EVIL}2")]
    for run in runs:
        with np.load(run / "predictions.npz") as arrays:
            found = dict(arrays)
        found["logits"] = np.eye(4, dtype=np.float32)[found["labels"]]
        np.savez(run / "predictions.npz", **found)
    write_confidence(runs[0], runs[1], [], 2, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert EVIL not in text
    assert "&lt;img src=x" in text
    offline(text)
    assert "There is none." in text


def test_runs_that_do_not_go_together_are_refused(finished, images, tmp_path):
    test, _ = images()
    runs = {name: finished(name, test=test.fingerprint) for name in ("a", "b", "fewer", "other")}
    runs["elsewhere"] = finished("elsewhere", test="another set")

    def change(name, **arrays):
        with np.load(runs[name] / "predictions.npz") as known:
            np.savez(runs[name] / "predictions.npz", **(dict(known) | arrays))

    change("fewer", logits=np.zeros((40, 3), dtype=np.float32))
    change("other", labels=np.arange(40) % 3)
    page = tmp_path / "page.html"
    for name, reason in {
        "fewer": "tells 4 classes apart, .*fewer 3: give two runs with the same test set",
        "other": "have different test sets",
        "elsewhere": "have different test sets",
    }.items():
        with pytest.raises(LimbeckError, match=reason):
            write_confidence(runs["a"], runs[name], [], 3, page)
    with pytest.raises(LimbeckError, match="not those that it was tested on"):
        write_confidence(runs["elsewhere"], runs["elsewhere"], [], 3, page)
    (runs["b"] / "predictions.npz").unlink()
    with pytest.raises(LimbeckError, match=r"b/predictions\.npz is missing or damaged"):
        write_confidence(runs["a"], runs["b"], [], 3, page)
    assert not page.exists()
