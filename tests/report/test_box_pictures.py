"""The page of boxes: what is drawn where, which pictures are shown, and what is refused."""

import base64
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from pages import EVIL, Tags
from PIL import Image

from limbeck.analysis.boxes import Counts
from limbeck.cli import main
from limbeck.core.boxes import Found, Truth
from limbeck.errors import LimbeckError
from limbeck.report import boxes
from limbeck.report.boxes import RIGHT, THERE, WRONG, choose, drawn, write_boxes
from limbeck.report.drawing import MUTED
from limbeck.train.predictions import read_found

CLASSES = ("background", "cat", f"dog {EVIL}")
TRUTH = Truth(
    np.arange(4),
    np.array([0, 0, 1, 2]),
    np.array([[10, 10, 50, 50], [60, 10, 90, 60], [20, 20, 80, 90], [5, 5, 95, 55]], np.float32),
    np.array([1, 2, 1, 1]),
    np.array([False, False, False, True]),
)


class Pictures:
    """Four grey pictures, 100 wide and 120 high."""

    classes, truth, fingerprint = CLASSES, TRUTH, "t"
    names = ("one.jpg", f"{EVIL}.jpg", "three.jpg", "four.jpg")

    def picture(self, example):
        return torch.full((3, 120, 100), 128, dtype=torch.uint8)


def found_of(*rows):
    """Rows (picture, class, left, top, right, bottom, score)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    pictures, classes = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    return Found(pictures, table[:, 2:6].astype(np.float32), classes, table[:, 6].astype(np.float32))


FIRST = found_of((0, 1, 10, 10, 50, 50, 0.9), (0, 2, 60, 10, 90, 60, 0.8), (2, 1, 10, 10, 30, 30, 0.7))
SECOND = found_of((0, 1, 10, 10, 50, 50, 0.9), (1, 2, 20, 20, 80, 90, 0.6), (3, 1, 0, 0, 9, 9, 0.4))


@pytest.fixture
def tested(monkeypatch):
    """Return the pictures that the runs are said to be tested on."""
    pictures = Pictures()
    monkeypatch.setattr(boxes, "evaluated_examples", lambda run, overrides, device: pictures)
    return pictures


def colour(code):
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))


def test_a_box_is_drawn_where_it_is():
    picture = torch.full((3, 50, 100), 128, dtype=torch.uint8)
    rows = np.array([[10, 5, 60, 45], [70, 20, 200, 90]], np.float32)
    pixels = drawn(picture, rows, ["cat\n0.90", "dog"], [RIGHT, WRONG])
    assert pixels.shape == (200, 400, 3)
    # Four times as large; what lies outside is cut off at the edge.
    assert tuple(pixels[100, 40]) == colour(RIGHT)
    assert tuple(pixels[180, 150]) == colour(RIGHT)
    assert tuple(pixels[150, 399]) == colour(WRONG)
    assert tuple(pixels[199, 350]) == colour(WRONG)
    assert tuple(pixels[120, 150]) == (128, 128, 128)
    label = pixels[20:40, 40:100].reshape(-1, 3)
    assert label.min(axis=1).max() > 200
    assert (label == colour(RIGHT)).all(axis=1).mean() > 0.2


def test_the_surest_box_lies_on_top_and_none_is_no_box():
    picture = torch.full((3, 100, 100), 128, dtype=torch.uint8)
    twice = np.array([[10, 10, 50, 50]] * 2, np.float32)
    assert tuple(drawn(picture, twice, ["a", "b"], [RIGHT, WRONG])[160, 40]) == colour(RIGHT)
    assert (drawn(picture, np.zeros((0, 4), np.float32), [], []) == 128).all()


def test_pictures_are_chosen_by_difference_or_by_seed():
    none = np.zeros(5, np.int64)
    one = Counts(none, np.array([0, 3, 1, 0, 2]), np.array([1, 0, 0, 0, 2]))
    other = Counts(none, np.array([0, 3, 1, 0, 0]), np.array([0, 0, 1, 0, 0]))
    # Mistakes 1, 3, 1, 0, 4 against 0, 3, 2, 0, 0; of equal differences the first comes first.
    assert choose([one, other], 3, None).tolist() == [4, 0, 2]
    assert choose([one, other], 3, 7).tolist() == choose([other, one], 3, 7).tolist()
    assert choose([one, other], 99, 7).tolist() == [0, 1, 2, 3, 4]
    assert len({tuple(choose([one], 2, seed)) for seed in range(9)}) > 1


def test_the_page_shows_truth_and_each_network_and_its_numbers_all(detector, tested, tmp_path):
    runs = [detector("a", found=FIRST), detector("b", 1, found=SECOND)]
    rows = write_boxes(runs, [], tmp_path / "page.html", count=3, seed=None, threshold=0.5)
    text = (tmp_path / "page.html").read_text()
    assert EVIL not in text
    tags = Tags(text)
    words = " ".join(" ".join(tags.text).split())
    pictures = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    assert len(pictures) == 3 * 3
    # The first run misses a dog less in picture 0; in picture 1 the second has one wrong and one missed.
    assert words.count("2 right, 0 wrong, 0 missed") == 1
    assert words.count("1 right, 0 wrong, 1 missed: dog") == 1
    assert words.count("0 right, 1 wrong, 1 missed: cat") == 1
    assert "score of at least 0.5" in words
    assert "farthest apart" in words
    assert [(row["right"], row["wrong"], row["missed"]) for row in rows] == [("2", "0", "1"), ("1", "1", "2")]
    with Image.open(io.BytesIO(base64.b64decode(pictures[1].partition(",")[2]))) as image:
        assert image.size == (333, 400)
        # Where a box of the first run is right: JPEG changes colours a little.
        assert np.abs(np.array(image.getpixel((33, 120))) - colour(RIGHT)).max() < 60
    table = pd.read_csv(tmp_path / "page.csv")
    assert list(table) == ["picture", "name", "network", "right", "wrong", "missed", "shown"]
    assert len(table) == 4 * 2
    assert table.groupby("network")["right"].sum().tolist() == [2, 1]
    assert table["shown"].sum() == 3 * 2


def test_colours_say_what_is_right(detector, tested, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(boxes, "drawn", lambda *of: (seen.append(of[2:]), drawn(*of))[1])
    both = found_of((0, 1, 10, 10, 50, 50, 0.6), (0, 1, 11, 10, 50, 50, 0.9), (2, 1, 10, 10, 30, 30, 0.7))
    write_boxes([detector("a", found=both)], [], tmp_path / "page.html", count=4, seed=None, threshold=0.5)
    dog = CLASSES[2]
    assert seen[:2] == [(["cat", dog], [THERE, THERE]), (["cat 0.90", "cat 0.60"], [RIGHT, WRONG])]
    assert seen[4:6] == [(["cat (ignored)"], [MUTED]), (["cat 0.70"], [MUTED])]
    assert "by the seed 0" in (tmp_path / "page.html").read_text()


def test_the_command_writes_a_page_which_the_report_shows(detector, tested, tmp_path, monkeypatch, capsys):
    detector("a", found=FIRST)
    detector("b", found=SECOND)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["limbeck", "analyze", *words, "--what", "boxes"])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    code, out, _ = run("a", "b", "--count", "2", "--threshold", "0.3", "--seed", "4")
    assert code == 0
    assert "Boxes with a score of at least 0.3 in all test pictures" in out
    assert out.endswith("written: boxes.html, boxes.csv\n")
    assert "by the seed 4" in (tmp_path / "boxes.html").read_text()
    boxes.write_html(tmp_path / "a/report.html", "layout.html", title="old")
    code, out, _ = run("a")
    assert code == 0
    assert out.endswith("written: a/report.html, with the picture in it\n")
    assert "<summary>boxes</summary>" in (tmp_path / "a/report.html").read_text()
    code, _, err = run("a", "--threshold", "2")
    assert code == 2
    assert "Invalid value for '--threshold'" in err
    code, _, err = run("a", "--draws", "2")
    assert code == 2
    assert "--draws is for --what noise alone" in err


def test_what_cannot_be_drawn_is_one_line(detector, finished, tested, tmp_path):
    def refused(*runs, out="page.html"):
        with pytest.raises(LimbeckError) as said:
            write_boxes(runs, [], tmp_path / out, count=1, seed=None, threshold=0.5)
        assert not (tmp_path / "page.html").exists()
        return str(said.value)

    good = detector("a", found=FIRST)
    assert "c finds no boxes, and this looks at boxes: name a run of the task detection" in refused(good, finished("c"))
    assert "different test sets" in refused(good, detector("d", found=FIRST, test="other"))
    assert "no page" in refused(good, out="page.png")
    wrong = {
        "unknown picture": FIRST._replace(pictures=FIRST.pictures + 9),
        "unknown class": FIRST._replace(classes=FIRST.classes + 9),
        "background": FIRST._replace(classes=FIRST.classes * 0),
        "NaN": FIRST._replace(boxes=FIRST.boxes * np.nan),
        "left of its left": FIRST._replace(boxes=FIRST.boxes[:, ::-1].copy()),
        "of another length": FIRST._replace(scores=FIRST.scores[:1]),
    }
    for name, found in wrong.items():
        message = refused(detector(name, found=found))
        assert message.endswith(f"{name}/predictions.npz is damaged; remove its folder and train again")
    (good / "predictions.npz").unlink()
    assert refused(good).endswith("a/predictions.npz is missing or damaged; remove its folder and train again")
    environment = json.loads((detector("e", found=FIRST) / "environment.json").read_text())
    tested.fingerprint = "moved"
    assert environment["content"]["test data"] != tested.fingerprint
    assert "e are not those that it was tested on: give data.source.root=..." in refused(tmp_path / "e")


def test_found_boxes_are_read_of_either_weights(detector):
    folder = detector("a", found=SECOND, best=True)
    for which in ("last", "best"):
        for column, expected in zip(read_found(folder, "student", which), SECOND, strict=True):
            assert np.array_equal(column, expected)
            assert column.dtype == expected.dtype
