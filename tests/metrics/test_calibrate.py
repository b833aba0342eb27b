from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.metrics import TEMPERATURES, ece, fit_temperature, nll


def test_finds_the_minimum_of_the_nll(few, oracle):
    fitted = fit_temperature(few.logits, few.labels)
    assert fitted == pytest.approx(oracle.temperature(few.logits, few.labels), rel=1e-6)
    assert nll(few.logits / fitted, few.labels) <= min(
        nll(few.logits / (fitted * factor), few.labels) for factor in (0.99, 1.01)
    )


def test_undoes_the_sharpening_of_the_golden_labels(golden, oracle):
    # The labels were drawn from p^1.5, which is the softmax at T = 2/3.
    fitted = fit_temperature(torch.from_numpy(golden.logits), torch.from_numpy(golden.labels))
    assert fitted == pytest.approx(2 / 3, rel=0.05)
    assert ece(oracle.softmax(golden.logits / fitted), golden.labels) < 0.25 * ece(golden.probs, golden.labels)


@pytest.mark.parametrize("factor", [1e-2, 1.0, 1e4])
def test_scales_with_the_logits(few, factor):
    base = fit_temperature(few.logits, few.labels)
    assert fit_temperature(factor * few.logits, few.labels) == pytest.approx(factor * base, rel=1e-8)


def test_extreme_logits_with_some_errors(oracle):
    logits = np.where(np.eye(2)[np.arange(20) % 2] == 1, 1e4, -1e4)
    labels = np.arange(20) % 2
    labels[0] = 1
    # One of 20 is wrong: the best confidence is 0.95, that is a lead of ln 19 nats.
    assert fit_temperature(logits, labels) == pytest.approx(2e4 / np.log(19), rel=1e-8)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(2e4 / np.log(19), rel=1e-8)


@pytest.mark.parametrize("scale", [0.1, 5, 1e4])
def test_ends_at_the_bounds(scale):
    logits = scale * np.eye(3)
    assert fit_temperature(logits, np.arange(3)) == TEMPERATURES[0]
    assert fit_temperature(logits, np.array([1, 2, 0])) == TEMPERATURES[1]


def test_flat_logits_fit_any_temperature():
    assert fit_temperature(np.full((4, 3), 7.0), np.array([0, 1, 2, 0])) == 1


@pytest.mark.usefixtures("tiny_blocks")
def test_one_block_or_many(golden, monkeypatch):
    logits, labels = golden.logits[:20], golden.labels[:20]
    in_blocks = fit_temperature(logits, labels)
    monkeypatch.undo()
    assert in_blocks == pytest.approx(fit_temperature(logits, labels), rel=1e-8)


def test_one_example():
    assert fit_temperature(np.array([[0.0, 1.0]]), np.array([1])) == TEMPERATURES[0]


def test_bad_input_is_refused():
    with pytest.raises(LimbeckError, match="logits of row 0 hold NaN"):
        fit_temperature(np.array([[np.nan, 1.0]]), np.array([1]))
    with pytest.raises(LimbeckError, match="labels have shape"):
        fit_temperature(np.array([[0.0, 1.0]]), np.array([1, 0]))
