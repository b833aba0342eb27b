"""Right, spared and missed boxes, against plain loops."""

import numpy as np
import pytest

from limbeck.analysis.boxes import compared, counts
from limbeck.core.boxes import Found, Truth


def truth_of(ids, rows):
    """Rows (picture, class, left, top, right, bottom, ignored)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    pictures, classes = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    return Truth(np.array(ids, np.int64), pictures, table[:, 2:6].astype(np.float32), classes, table[:, 6].astype(bool))


def found_of(rows):
    """Rows (picture, class, left, top, right, bottom, score)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    pictures, classes = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    return Found(pictures, table[:, 2:6].astype(np.float32), classes, table[:, 6].astype(np.float32))


def naive(found, truth):
    """One box after another, by score."""
    right, spared, taken = set(), set(), set()
    for one in sorted(range(len(found.scores)), key=lambda at: -found.scores[at]):
        best, which = 0.5, None
        for other in range(len(truth.classes)):
            if (found.pictures[one], found.classes[one]) != (truth.pictures[other], truth.classes[other]):
                continue
            a, b = found.boxes[one].astype(float), truth.boxes[other].astype(float)
            shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
            own, its = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
            if truth.ignored[other]:
                if shared / own >= 0.5:
                    spared.add(one)
            elif other not in taken and (share := shared / (own + its - shared)) >= best + (which is not None) * 1e-12:
                best, which = share, other
        if which is not None:
            right.add(one)
            taken.add(which)
    missed = {other for other in range(len(truth.classes)) if not truth.ignored[other]} - taken
    return right, spared - right, missed


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_matched_by_score_and_overlap(seed):
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(50, 6, replace=False))
    rows, said = [], []
    for picture in ids[1:]:
        for _ in range(5):
            left, top = rng.integers(0, 30, 2)
            box = np.array([left, top, left + rng.integers(5, 20), top + rng.integers(5, 20)])
            label = rng.integers(1, 3)
            rows.append((picture, label, *box, rng.random() < 0.2))
            said += [(picture, label, *(box + rng.integers(-3, 4, 4)), rng.integers(1, 7) / 8) for _ in range(2)]
    found, truth = found_of(said), truth_of(ids, rows)
    of = compared(found, truth)
    found_sets = tuple(set(np.flatnonzero(part).tolist()) for part in of)
    assert found_sets == naive(found, truth)
    assert all(found_sets)
    each = counts(found, truth, of)
    assert each.mistakes[0] == 0
    for i, picture in enumerate(ids):
        assert each.right[i] + each.wrong[i] + of.spared[found.pictures == picture].sum() == 10 * (i > 0)
        assert each.right[i] + each.missed[i] == (~truth.ignored[truth.pictures == picture]).sum()


def test_nothing_found_is_all_missed_and_nothing_there_is_all_wrong():
    truth = truth_of([2, 5], [(5, 1, 0, 0, 9, 9, 0), (5, 2, 0, 0, 9, 9, 1)])
    nothing = found_of([])
    of = compared(nothing, truth)
    assert of.missed.tolist() == [True, False]
    assert counts(nothing, truth, of).mistakes.tolist() == [0, 1]
    some = found_of([(2, 1, 0, 0, 9, 9, 0.5), (5, 1, 3, 3, 3, 3, 0.5)])
    none = truth_of([2, 5], [])
    assert counts(some, none, compared(some, none)).wrong.tolist() == [1, 1]
    # Without area it overlaps nothing.
    assert compared(some, truth).right.tolist() == [False, False]
