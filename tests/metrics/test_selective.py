from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.metrics import aurc, eaurc, risk_coverage

PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=60)
TIED = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6)


def unzip(answers):
    confidence, correct = zip(*answers, strict=True)
    return np.array(confidence), np.array(correct)


def test_golden_values_of_the_pskd_code(golden):
    confidence, correct = golden.probs.max(axis=1), golden.probs.argmax(axis=1) == golden.labels
    assert aurc(confidence, correct) * 1000 == pytest.approx(170.316101695206, abs=1e-9)
    assert eaurc(confidence, correct) * 1000 == pytest.approx(101.310296239836, abs=1e-9)


def test_without_ties_it_is_the_plain_sum(golden, oracle):
    confidence, correct = golden.probs.max(axis=1), golden.probs.argmax(axis=1) == golden.labels
    ranked = [correct[i] for i in sorted(range(2000), key=lambda i: -confidence[i])]
    curve = risk_coverage(torch.from_numpy(confidence), torch.from_numpy(correct))
    assert curve.risks.tolist() == oracle.risks(ranked)
    assert curve.coverages.tolist() == [i / 2000 for i in range(1, 2001)]
    assert aurc(confidence, correct) == pytest.approx(math.fsum(oracle.risks(ranked)) / 2000, abs=1e-14)


@PROPERTY
@given(answers=TIED)
def test_ties_are_averaged_over_all_orders(oracle, answers):
    confidence, correct = unzip(answers)
    assert aurc(confidence, correct) == pytest.approx(oracle.aurc(confidence, correct), abs=1e-14)
    excess = oracle.aurc(confidence, correct) - oracle.best_aurc(correct.tolist())
    assert eaurc(confidence, correct) == pytest.approx(excess, abs=1e-14)


@PROPERTY
@given(answers=st.lists(TIED.flatmap(st.sampled_from), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_the_order_of_the_input_never_matters(answers, seed):
    confidence, correct = unzip(answers)
    shuffle = np.random.default_rng(seed).permutation(len(answers))
    assert aurc(confidence[shuffle], correct[shuffle]) == aurc(confidence, correct)
    assert 0 <= aurc(confidence, correct) <= 1
    assert eaurc(confidence, correct) >= -1e-14


def test_a_hundred_equal_confidences():
    correct = np.arange(100) < 50
    for order in (correct, ~correct):
        assert aurc(np.full(100, 0.5), order) == pytest.approx(0.5, abs=1e-15)


def test_only_the_order_of_confidences_counts():
    confidence, correct = np.array([0.9, 0.2, 0.4, 0.4]), np.array([True, False, True, False])
    assert aurc(100 * confidence - 70, correct) == aurc(confidence, correct)
    assert aurc(confidence.astype(np.float16), correct.astype(int)) == aurc(confidence, correct)
    assert aurc(torch.from_numpy(confidence).bfloat16(), torch.from_numpy(correct)) == aurc(confidence, correct)


@pytest.mark.parametrize(("right", "area"), [(True, 0.0), (False, 1.0)])
def test_all_right_or_all_wrong(right, area):
    for count in (1, 7):
        confidence, correct = np.linspace(0, 1, count), np.full(count, right)
        assert aurc(confidence, correct) == area
        assert eaurc(confidence, correct) == 0


def test_the_best_order_has_no_excess():
    assert eaurc(np.array([0.1, 0.9, 0.2, 0.8]), np.array([False, True, False, True])) == 0


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5, 0.6], [1], r"confidence has shape \[2\], correct \[1\]: both must be \[examples\]"),
        ([[0.5]], [[1]], r"both must be \[examples\]"),
        ([], [], r"confidence is empty"),
        ([0.5, np.nan], [1, 0], r"confidence of row 1 is NaN"),
        ([0.5, 0.6], [1, 2], r"correct of row 1 is 2 but must be 1 \(right\) or 0 \(wrong\)"),
    ],
    ids=["short", "matrix", "empty", "nan", "label"],
)
def test_bad_input_is_one_clear_line(confidence, correct, message):
    for function in (aurc, eaurc, risk_coverage):
        with pytest.raises(LimbeckError, match=message) as caught:
            function(np.array(confidence), np.array(correct))
        assert "\n" not in str(caught.value)
