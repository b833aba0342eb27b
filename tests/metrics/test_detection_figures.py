"""mAP: what torchmetrics says against plain loops over VOC's and COCO's definitions, a case by hand, and limits."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from limbeck.core.boxes import Found, Truth
from limbeck.errors import LimbeckError
from limbeck.metrics.detection import error_of, figures_of, per_class
from limbeck.metrics.figures import OF_DETECTION, figure

CLASSES = ("background", "cat", "dog", "fox", "owl", "yak")


def truth_of(ids, rows):
    """Rows (picture, class, left, top, right, bottom, ignored)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Truth(
        np.array(ids, np.int64),
        table[:, 0].astype(np.int64),
        table[:, 2:6].astype(np.float32),
        table[:, 1].astype(np.int64),
        table[:, 6].astype(bool),
    )


def found_of(rows):
    """Rows (picture, class, left, top, right, bottom, score)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Found(
        table[:, 0].astype(np.int64),
        table[:, 2:6].astype(np.float32),
        table[:, 1].astype(np.int64),
        table[:, 6].astype(np.float32),
    )


def overlap(a, b, ignored=False):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    own, other = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return shared / own if ignored else shared / (own + other - shared)


def answers(found, truth, label, least, most):
    """All answers of a class in order of score, True, False or None for one that does not count; and the boxes."""
    said = []
    for picture in truth.ids.tolist():
        real = [
            (box.astype(np.float64).tolist(), bool(ignored))
            for at, box, kind, ignored in zip(*truth[1:], strict=True)
            if at == picture and kind == label
        ]
        boxes = [
            (float(score), box.astype(np.float64).tolist())
            for at, box, kind, score in zip(*found, strict=True)
            if at == picture and kind == label
        ]
        taken = set()
        for score, box in sorted(boxes, key=lambda one: -one[0])[:most]:
            best, which = least, None
            for i, (other, ignored) in enumerate(real):
                if not ignored and i not in taken and overlap(box, other) >= best:
                    best, which = overlap(box, other), i
            taken.add(which)
            spared = any(ignored and overlap(box, other, ignored) >= least for other, ignored in real)
            said.append((score, True if which is not None else None if spared else False))
    said.sort(key=lambda one: -one[0])
    boxes = sum(kind == label and not ignored for kind, ignored in zip(truth.classes, truth.ignored, strict=True))
    return [right for _, right in said if right is not None], boxes


def curve(found, truth, label, least, most=10**6):
    """Recall and precision after each answer."""
    said, boxes = answers(found, truth, label, least, most)
    hits, points = 0, []
    for n, right in enumerate(said, start=1):
        hits += right
        points.append((Fraction(hits, boxes), hits / n))
    return points


def area(points):
    """As VOC's own program: the curve made to fall from the right, then a rectangle for each step of recall."""
    recalls = [Fraction(0), *(r for r, _ in points), Fraction(1)]
    precisions = [0.0, *(p for _, p in points), 0.0]
    for i in reversed(range(len(precisions) - 1)):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum(float(recalls[i + 1] - recalls[i]) * precisions[i + 1] for i in range(len(recalls) - 1))


def at_levels(points, levels):
    return sum(max((p for r, p in points if r >= level), default=0.0) for level in levels) / len(levels)


def oracle(found, truth):
    labels = sorted({int(k) for k, ignored in zip(truth.classes, truth.ignored, strict=True) if not ignored})
    hundredths = [Fraction(k, 100) for k in range(101)]
    tenths = [Fraction(k, 10) for k in range(11)]

    def mean(of):
        return sum(of(label) for label in labels) / len(labels)

    def coco(least):
        return mean(lambda label: at_levels(curve(found, truth, label, least, 100), hundredths))

    return {
        "voc_map": mean(lambda label: area(curve(found, truth, label, 0.5))),
        "voc07_map": mean(lambda label: at_levels(curve(found, truth, label, 0.5), tenths)),
        "ap": sum(coco((50 + 5 * k) / 100) for k in range(10)) / 10,
        "ap50": coco(0.5),
        "ap75": coco(0.75),
    }


def random_boxes(seed):
    """Crowded pictures with equal scores; some are empty, some have only boxes that are ignored."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(100, 14, replace=False))
    rows, said = [], []
    for picture in ids[2:].tolist():
        for _ in range(rng.integers(0, 7)):
            left, top = rng.integers(0, 60, 2) / 2
            box = (left, top, left + rng.integers(8, 30) / 2, top + rng.integers(8, 30) / 2)
            label = int(rng.choice([1, 1, 1, 2, 2, 3]))
            rows.append((picture, label, *box, label == 3 or rng.random() < 0.2))
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.integers(-4, 5, 4) / 2
                kind = label if rng.random() < 0.9 else int(rng.integers(1, 5))
                said.append((picture, kind, *moved, rng.integers(1, 9) / 8))
    said += [(ids[1], 1, 0, 0, 9, 9, 0.5), (ids[1], 4, 0, 0, 9, 9, 0.5)]
    # A class that is there but not found.
    rows.append((ids[-1], 5, 0, 0, 9, 9, 0))
    return found_of(sorted(said, key=lambda one: one[0])), truth_of(ids, rows)


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_the_definitions(seed, capsys):
    found, truth = random_boxes(seed)
    assert truth.ignored.any()
    assert len(np.unique(found.scores)) < len(found.scores)
    values, expected = figures_of(found, truth, CLASSES), oracle(found, truth)
    assert list(values) == [one.key for one in OF_DETECTION]
    assert values == pytest.approx(expected, abs=1e-6)
    assert 0.05 < values["ap"] < values["ap50"] < 1
    assert error_of(found, truth) == pytest.approx(1 - expected["ap50"], abs=1e-6)
    assert capsys.readouterr() == ("", "")


def test_classes_one_by_one_are_their_mean():
    found, truth = random_boxes(7)
    each = per_class(found, truth, CLASSES)
    # All of fox is ignored, owl is found but never there.
    assert list(each) == ["cat", "dog", "yak"]
    for name, value in each.items():
        assert value == pytest.approx(area(curve(found, truth, CLASSES.index(name), 0.5)), abs=1e-12)
    assert np.mean(list(each.values())) == pytest.approx(figures_of(found, truth, CLASSES)["voc_map"], abs=1e-12)


def test_a_case_by_hand():
    truth = truth_of([4, 9], [(4, 1, 0, 0, 10, 10, 0), (4, 1, 20, 0, 30, 10, 0), (9, 1, 0, 0, 10, 10, 0)])
    found = found_of(
        [
            (4, 1, 0, 0, 10, 10, 0.9),  # right, overlap 1
            (4, 1, 0, 0, 10, 9, 0.8),  # wrong, its box is taken
            (4, 1, 20, 0, 30, 6, 0.7),  # right, overlap 0.6
            (9, 1, 0, 4, 10, 14, 0.6),  # wrong, overlap 60 / 140
        ]
    )
    values = figures_of(found, truth, ("background", "cat"))
    # After each: recall 1/3, 1/3, 2/3, 2/3; precision 1, 1/2, 2/3, 1/2. So 1 up to 1/3, 2/3 up to 2/3, then 0.
    assert values["voc_map"] == pytest.approx(1 / 3 + 2 / 3 / 3)
    # 0, 0.1, 0.2, 0.3 at 1; 0.4, 0.5, 0.6 at 2/3.
    assert values["voc07_map"] == pytest.approx((4 + 3 * 2 / 3) / 11)
    # 0 to 0.33 are 34 levels at 1, 0.34 to 0.66 are 33 at 2/3.
    assert values["ap50"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    # Only the first is right.
    assert values["ap75"] == pytest.approx(34 / 101)
    # Three overlaps, 0.5, 0.55 and 0.6, are like the first and seven like the second.
    assert values["ap"] == pytest.approx((3 * (34 + 22) + 7 * 34) / 1010)


def test_a_recall_on_a_level_reaches_it():
    """3 of 10 is 0.3 whatever three steps of 0.1 round to."""
    truth = truth_of([0], [(0, 1, 20 * k, 0, 20 * k + 10, 10, 0) for k in range(10)])
    found = found_of([(0, 1, 20 * k, 0, 20 * k + 10, 10, 0.9) for k in range(3)])
    assert figures_of(found, truth, ("background", "cat"))["voc07_map"] == pytest.approx(4 / 11)


def test_all_found_is_one_and_nothing_found_is_zero():
    _, truth = random_boxes(3)
    perfect = Found(truth.pictures, truth.boxes, truth.classes, np.full(len(truth.boxes), 0.5, np.float32))
    assert figures_of(perfect, truth, CLASSES) == pytest.approx({one.key: 1.0 for one in OF_DETECTION})
    assert error_of(perfect, truth) == pytest.approx(0)
    nothing = found_of([])
    assert figures_of(nothing, truth, CLASSES) == {one.key: 0.0 for one in OF_DETECTION}
    assert error_of(nothing, truth) == 1
    assert set(per_class(nothing, truth, CLASSES).values()) == {0.0}


def test_boxes_in_ignored_ones_do_not_count():
    truth = truth_of([0], [(0, 1, 0, 0, 10, 10, 0), (0, 1, 50, 0, 90, 40, 1)])
    found = found_of([(0, 1, 50, 0, 60, 10, 0.9), (0, 1, 60, 0, 70, 10, 0.8), (0, 1, 0, 0, 10, 10, 0.7)])
    assert figures_of(found, truth, CLASSES) == pytest.approx({one.key: 1.0 for one in OF_DETECTION})


def test_coco_takes_a_hundred_boxes_and_voc_all():
    wrong = [(0, 1, 50, 50, 60, 60, 0.9)] * 100
    found = found_of([*wrong, (0, 1, 0, 0, 10, 10, 0.8)])
    values = figures_of(found, truth_of([0], [(0, 1, 0, 0, 10, 10, 0)]), CLASSES)
    assert values == pytest.approx({"voc_map": 1 / 101, "voc07_map": 1 / 101, "ap": 0, "ap50": 0, "ap75": 0})


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        ([], [], "there is nothing to find in these 2 pictures: no picture has a box, so mAP means nothing"),
        ([], [(3, 1, 0, 0, 9, 9, 1)], "there is nothing to find in these 2 pictures: all boxes are ignored, so"),
        ([(5, 1, 0, 0, 9, 9, 0.5)], None, "found boxes name the picture 5, which is not in this split"),
        ([], [(5, 1, 0, 0, 9, 9, 0)], "true boxes name the picture 5, which is not in this split"),
        ([(3, 0, 0, 0, 9, 9, 0.5)], None, "the classes of found boxes go from 0 to 0, not in 1..5"),
        ([], [(3, 6, 0, 0, 9, 9, 0)], "the classes of true boxes go from 6 to 6, not in 1..5"),
        ([(7, 1, 0, 0, 9, 9, 0.5), (3, 1, 0, 0, 9, 9, 0.5)], None, "the pictures of the found boxes are not in ascend"),
        (
            [(3, 1, 0, 0, 9, 9, 0.5), (7, 1, 0, 0, 9, 9, np.nan)],
            None,
            "1 of 2 found boxes have a score or an edge that is not finite, first in picture 7: the network has div",
        ),
        ([(3, 1, 0, 0, np.inf, 9, 0.5)], None, "1 of 1 found boxes have a score or an edge that is not finite"),
    ],
)
def test_what_means_nothing_is_one_line(found, truth, message):
    there = truth_of([3, 7], [(3, 1, 0, 0, 9, 9, 0)] if truth is None else truth)
    with pytest.raises(LimbeckError) as refused:
        figures_of(found_of(found), there, CLASSES)
    assert str(refused.value).startswith(message)


def test_without_the_evaluator_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(LimbeckError) as refused:
        error_of(*random_boxes(0))
    said = "mAP needs faster-coco-eval, which is not installed: pip install 'limbeck[detection]'"
    assert str(refused.value) == said


def test_figures_are_printed_in_percent():
    assert figure("ap").show(0.4567) == "45.67"
    assert not any(one.lower_is_better for one in OF_DETECTION)
