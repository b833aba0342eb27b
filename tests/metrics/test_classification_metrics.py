from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from limbeck.errors import LimbeckError
from limbeck.metrics import accuracy, aurc, brier, confidences, ece, nll, reliability

PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=60)


def two_class(confidence, right):
    """Predictions for class 0 with the given confidences, of which `right` are right."""
    confidence = np.asarray(confidence, dtype=np.float64)
    return np.stack([confidence, 1 - confidence], axis=1), 1 - np.asarray(right, dtype=np.int64)


def test_golden_ece_of_the_pskd_code(golden):
    assert ece(golden.probs, golden.labels, bins=10) * 100 == pytest.approx(12.341672918335, abs=1e-10)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_agrees_with_the_oracle(few, oracle, convert):
    logits, probs, labels = (convert(part) for part in few)
    assert nll(logits, labels) == pytest.approx(oracle.nll(few.logits, few.labels), abs=1e-13)
    assert brier(probs, labels) == pytest.approx(oracle.brier(few.probs, few.labels), abs=1e-14)
    for top in (1, 5, 10):
        assert accuracy(probs, labels, top=top) == oracle.accuracy(few.probs, few.labels, top)
        assert accuracy(logits, labels, top) == oracle.accuracy(few.logits, few.labels, top)
    for bins in (1, 2, 10, 15):
        assert ece(probs, labels, bins) == pytest.approx(oracle.ece(few.probs, few.labels, bins), abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_input_is_summed_in_float64(few, oracle, dtype):
    logits, probs = torch.from_numpy(few.logits).to(dtype), torch.from_numpy(few.probs).to(dtype)
    exact_logits, exact_probs = logits.double().numpy(), probs.double().numpy()
    assert nll(logits, torch.from_numpy(few.labels)) == pytest.approx(oracle.nll(exact_logits, few.labels))
    assert brier(probs, torch.from_numpy(few.labels)) == pytest.approx(oracle.brier(exact_probs, few.labels))
    assert ece(probs, few.labels) == pytest.approx(oracle.ece(exact_probs, few.labels, 15), abs=1e-14)


def test_input_may_be_read_only_strided_swapped_or_have_a_gradient(few, tmp_path):
    expected = nll(few.logits, few.labels)
    np.save(tmp_path / "logits.npy", few.logits)
    mapped = np.load(tmp_path / "logits.npy", mmap_mode="r")
    assert nll(mapped, few.labels) == expected
    assert nll(few.logits[::-1], few.labels[::-1]) == pytest.approx(expected)
    assert nll(few.logits.astype(">f8"), few.labels.astype(np.uint8)) == expected
    assert nll(torch.from_numpy(few.logits).requires_grad_(), few.labels) == expected


def test_input_is_left_alone(few):
    for convert in (np.asarray, torch.from_numpy):
        probs, labels = convert(few.probs.copy()), convert(few.labels.copy())
        brier(probs, labels)
        ece(probs, labels)
        nll(probs, labels)
        assert (np.asarray(probs) == few.probs).all()
        assert (np.asarray(labels) == few.labels).all()


def test_extreme_logits():
    logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]])
    assert nll(logits, np.array([0, 0])) == 0
    assert nll(logits, np.array([0, 1])) == 1e4
    assert nll(logits.astype(np.float32), np.array([2, 1])) == 1.5e4


def test_near_perfect_probabilities_do_not_cancel():
    probs = np.array([[1 - 1e-9, 1e-9]])
    assert brier(probs, np.array([0])) == pytest.approx(2e-18, rel=1e-6)


def test_ties_go_to_the_lower_class():
    flat = np.full((10, 10), 0.1)
    labels = np.arange(10)
    assert accuracy(flat, labels) == 0.1
    assert accuracy(flat, labels, top=5) == 0.5
    assert confidences(flat, labels).correct.tolist() == [True] + [False] * 9


def test_all_right_and_all_wrong():
    certain = np.eye(3)
    right, wrong = np.arange(3), np.array([1, 2, 0])
    assert (accuracy(certain, right), brier(certain, right), ece(certain, right)) == (1, 0, 0)
    assert (accuracy(certain, wrong), brier(certain, wrong), ece(certain, wrong)) == (0, 2, 1)


def test_one_example():
    probs, label = np.array([[0.25, 0.75]]), np.array([1])
    assert (accuracy(probs, label), brier(probs, label), ece(probs, label)) == (1, 0.125, 0.25)


def test_confidence_one_is_in_the_last_bin():
    probs, labels = two_class([0.95, 1.0], [True, False])
    assert ece(probs, labels, bins=10) == pytest.approx(0.475)
    assert reliability(probs, labels, bins=10).examples.tolist() == [0] * 9 + [2]


def test_confidence_just_above_one_is_in_the_last_bin():
    probs = torch.tensor([[1.0000001, 0.0]])
    assert probs[0, 0] > 1
    assert ece(probs, torch.tensor([1]), bins=10) == pytest.approx(1.0000001)


def test_bins_are_closed_on_the_right():
    edges = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    probs, labels = two_class(edges, [True] * 6)
    assert reliability(probs, labels, bins=10).examples.tolist() == [0] * 4 + [1] * 6
    above, labels = two_class(np.nextafter(edges[:5], 1), [True] * 5)
    assert reliability(above, labels, bins=10).examples.tolist() == [0] * 5 + [1] * 5


def test_the_first_bin_takes_the_lowest_confidences():
    uniform = np.full((4, 1000), 0.001)
    assert reliability(uniform, np.zeros(4, dtype=int), bins=10).examples.tolist() == [4] + [0] * 9


def test_reliability_of_a_bin_and_of_an_empty_one():
    probs, labels = two_class([0.55, 0.59, 0.95], [True, False, True])
    diagram = reliability(probs, labels, bins=10)
    assert diagram.examples[[5, 9]].tolist() == [2, 1]
    assert diagram.confidence[5] == pytest.approx(0.57)
    assert diagram.accuracy[[5, 9]].tolist() == [0.5, 1]
    empty = diagram.examples == 0
    assert np.isnan(diagram.confidence[empty]).all()
    assert np.isnan(diagram.accuracy[empty]).all()


def test_ece_sums_up_the_reliability_diagram(golden):
    diagram = reliability(golden.probs, golden.labels)
    full = diagram.examples > 0
    gaps = np.abs(diagram.accuracy - diagram.confidence)[full]
    assert ece(golden.probs, golden.labels) == pytest.approx((gaps * diagram.examples[full]).sum() / 2000)


@pytest.mark.parametrize("bins", [10, 15])
def test_agrees_with_torchmetrics_away_from_edges(golden, bins):
    probs, labels = torch.from_numpy(golden.probs), torch.from_numpy(golden.labels)
    away = ((probs.amax(1) * bins) % 1 - 0.5).abs() < 0.49
    theirs = multiclass_calibration_error(probs[away], labels[away], num_classes=10, n_bins=bins, norm="l1")
    assert ece(probs[away], labels[away], bins) == pytest.approx(float(theirs), abs=1e-6)


def test_confidences_keep_their_type(few):
    single = confidences(few.probs.astype(np.float32), few.labels)
    assert single.confidence.dtype == np.float32
    assert (single.confidence == few.probs.astype(np.float32).max(axis=1)).all()
    half = confidences(torch.from_numpy(few.probs).bfloat16(), few.labels)
    assert half.confidence.dtype == np.float64
    assert (confidences(few.probs, few.labels).correct == (few.probs.argmax(1) == few.labels)).all()
    assert 0 < aurc(*single) < 1


@PROPERTY
@given(
    logits=st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=20),
    seed=st.integers(0, 1000),
    bins=st.integers(1, 20),
)
def test_ranges(oracle, logits, seed, bins):
    scores = np.array(logits)
    probs = oracle.softmax(scores)
    labels = np.random.default_rng(seed).integers(0, 3, size=len(scores))
    assert 0 <= ece(probs, labels, bins) <= 1
    assert 0 <= brier(probs, labels) <= 2 + 1e-12
    assert nll(scores, labels) >= 0
    assert reliability(probs, labels, bins).examples.sum() == len(labels)
    assert ece(probs, labels, bins) == pytest.approx(oracle.ece(probs, labels, bins), abs=1e-12)
    assert accuracy(probs, labels, 1) <= accuracy(probs, labels, 2) <= accuracy(probs, labels, 3) == 1


GOOD = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0], [0.0, 1.0]])
LABELS = np.array([0, 1, 0, 1])


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("function", [accuracy, nll, brier, ece, reliability, confidences])
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (GOOD, LABELS[:3], r"labels have shape \[3\] but \w+ have 4 rows"),
        (GOOD, LABELS[:, None], r"labels have shape \[4, 1\]"),
        (GOOD[0], LABELS, r"have shape \[2\] but must be \[examples, classes\]"),
        (GOOD[:0], LABELS[:0], r"are empty \(shape \[0, 2\]\)"),
        (GOOD, LABELS + 1, r"label of row 1 is 2 but must lie in 0\.\.1"),
        (GOOD, LABELS - 1, r"label of row 0 is -1 but must lie in 0\.\.1"),
        (GOOD, LABELS.astype(float), r"labels are float64 but must be whole numbers"),
        (np.where(np.arange(4)[:, None] == 3, np.nan, GOOD), LABELS, r"of row 3 hold NaN or infinity"),
        (np.where(np.arange(4)[:, None] == 3, np.inf, GOOD), LABELS, r"of row 3 hold NaN or infinity"),
    ],
    ids=["short", "column", "vector", "empty", "high", "low", "float", "nan", "inf"],
)
def test_bad_input_is_one_clear_line(function, scores, labels, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        function(scores, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("function", [brier, ece, reliability, confidences])
def test_probabilities_must_be_probabilities(function):
    with pytest.raises(LimbeckError, match=r"of row 3 sum to 7, not 1: pass softmax"):
        function(np.vstack([GOOD[:3], [[3.0, 4.0]]]), LABELS)
    with pytest.raises(LimbeckError, match=r"of row 3 are negative: pass softmax"):
        function(np.vstack([GOOD[:3], [[-3.0, 4.0]]]), LABELS)


@pytest.mark.parametrize("bins", [0, -1])
def test_bins_must_be_positive(bins):
    for function in (ece, reliability):
        with pytest.raises(LimbeckError, match=f"bins is {bins} but must be at least 1"):
            function(GOOD, LABELS, bins)


@pytest.mark.parametrize("top", [0, 3])
def test_top_must_be_a_number_of_classes(top):
    with pytest.raises(LimbeckError, match=rf"top is {top} but must lie in 1\.\.2"):
        accuracy(GOOD, LABELS, top)
