"""Tests over test examples, against scipy and loops."""

import math

import numpy as np
import pytest
from scipy import stats

from limbeck.metrics import summary
from limbeck.studies.claims import read_claim
from limbeck.studies.examples import bootstrap, losses, mcnemar, over_examples
from limbeck.studies.study import Stated
from limbeck.tasks.classification import Predictions

EXAMPLES, CLASSES = 200, 5
GRID = "cells: {a: {}, b: {method: pskd}, c: {method: label_smoothing}}\nseeds: 2\n"


def said(seed, skill=1.0, ids=None):
    generator = np.random.default_rng(seed)
    labels = np.arange(EXAMPLES) % CLASSES
    logits = generator.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    logits[np.arange(EXAMPLES), labels] += skill
    return Predictions(np.arange(EXAMPLES) if ids is None else ids, labels, logits)


@pytest.fixture
def folders(tmp_path):
    """Return the folders of runs of two cells and two seeds, with predictions."""

    def write(ids=None):
        found = {}
        for i, (cell, skill) in enumerate({"a": 1.0, "b": 2.5, "c": 1.0}.items()):
            for seed in range(2):
                place = tmp_path / f"{cell}{seed}"
                place.mkdir(exist_ok=True)
                one = said(10 * i + seed, skill, ids if cell == "c" else None)
                np.savez(place / "predictions.npz", **one._asdict(), best_logits=one.logits + 1)
                found.setdefault(cell, {})[seed] = place
        return found

    return write


@pytest.mark.parametrize("metric", ["error", "nll", "brier"])
def test_the_mean_loss_is_the_figure(metric):
    one = said(0)
    found = losses(metric, one)
    assert found.mean() == pytest.approx(summary(one.logits, one.labels)[metric], rel=1e-9)
    logits = one.logits[7].astype(float)
    probs = [math.exp(z) / sum(math.exp(other) for other in logits) for z in logits]
    label = one.labels[7]
    naive = {
        "error": float(max(probs) != probs[label]),
        "nll": -math.log(probs[label]),
        "brier": sum((p - (k == label)) ** 2 for k, p in enumerate(probs)),
    }
    assert found[7] == pytest.approx(naive[metric])


def test_mcnemar_counts_the_discordant():
    first = np.array([1.0] * 9 + [0.0] * 2 + [1.0] * 5 + [0.0] * 20)
    second = np.array([0.0] * 9 + [1.0] * 2 + [1.0] * 5 + [0.0] * 20)
    found = mcnemar(first, second)
    tail = sum(math.comb(11, k) for k in range(3)) / 2**11
    assert (found.first, found.second) == (9, 2)
    assert found.p == pytest.approx(2 * tail)
    assert mcnemar(first, first).p == 1.0


def test_the_bootstrap_is_that_of_scipy_and_the_same_every_time(monkeypatch):
    values = np.random.default_rng(3).exponential(size=300)
    low, high = bootstrap(values)
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == pytest.approx((other.low, other.high), abs=0.02)
    assert bootstrap(values) == (low, high)
    monkeypatch.setattr("limbeck.studies.examples._BLOCK", 1000)  # many small blocks
    assert bootstrap(values) == pytest.approx((low, high), abs=0.02)


def test_a_claim_over_examples(cells, folders):
    grid, places = cells(GRID), folders()
    found = over_examples(read_claim(Stated("error(a) < error(b)"), grid, "s"), places, [0, 1])
    assert 0 < found.low < found.high  # a is the worse
    for seed, test in found.mcnemar.items():
        wrong = [said(start + seed, skill) for start, skill in ((0, 1.0), (10, 2.5))]
        a, b = (one.logits.argmax(1) != one.labels for one in wrong)
        assert (test.first, test.second) == ((a & ~b).sum(), (b & ~a).sum())
        assert test.p == pytest.approx(stats.binomtest(test.first, test.first + test.second).pvalue)
    turned = over_examples(read_claim(Stated("error(b) < error(a)"), grid, "s"), places, [0, 1])
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=0.01)
    assert turned.mcnemar[0].first == found.mcnemar[0].second


def test_constants_and_best_weights_count_and_other_figures_do_not(cells, folders):
    grid, places = cells(GRID), folders()
    shifted = over_examples(read_claim(Stated("nll(a) - nll(b) < 10"), grid, "s"), places, [0, 1])
    plain = over_examples(read_claim(Stated("nll(a) < nll(b)"), grid, "s"), places, [0, 1])
    assert (shifted.low, shifted.high) == pytest.approx((plain.low - 10, plain.high - 10))
    assert plain.mcnemar == {}
    best = over_examples(read_claim(Stated("best:nll(a) < best:nll(b)"), grid, "s"), places, [0, 1])
    assert best.low == pytest.approx(plain.low, abs=1e-5)  # a constant changes no softmax
    assert over_examples(read_claim(Stated("ece(a) < ece(b)"), grid, "s"), places, [0, 1]) is None


def test_other_test_sets_are_not_compared(cells, folders):
    grid, places = cells(GRID), folders(ids=np.arange(EXAMPLES) + 1)
    assert over_examples(read_claim(Stated("error(a) < error(c)"), grid, "s"), places, [0, 1]) is None
