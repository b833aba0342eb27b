"""Runs that leave the test set alone: `data.evaluate: validation`."""

import json

import numpy as np
import pytest

from limbeck.core import LimbeckError
from limbeck.data.sources.digits import Digits
from limbeck.plain import evaluated_on
from limbeck.recipes.read import plan
from limbeck.train.job import effective
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

TREE = {
    "data": {"source": "digits", "examples": 60, "validation": 100, "evaluate": "validation"},
    "model": {"name": "cnn", "width": 2},
    "training": {"epochs": 1, "batch_size": 30},
}


@pytest.fixture
def no_test_set(monkeypatch):
    """Digits whose test images nobody can have."""
    real = Digits.load

    def load(self):
        raw = real(self)

        class Sealed:
            labels = raw.test.labels

            def examples(self, members, setting):
                pytest.fail("the test set was read")

        return raw._replace(test=Sealed())

    monkeypatch.setattr(Digits, "load", load)


def test_figures_are_of_the_validation_split_and_the_test_set_is_not_read(no_test_set, tmp_path):
    found = plan(TREE, "t").run(tmp_path / "run", Runtime("cpu", 1, 1), Display(silent=True))
    with np.load(tmp_path / "run/predictions.npz") as arrays:
        said = dict(arrays)
    assert len(said["ids"]) == 100
    np.testing.assert_array_equal(said["logits"], said["validation_logits"])
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert found["students"]["student"]["last"]["error"] == pytest.approx(last["validation/error"])


def test_a_temperature_is_not_judged_by_the_examples_that_it_was_fitted_to(no_test_set, tmp_path):
    found = plan(TREE, "t").run(tmp_path / "run", Runtime("cpu", 1, 1), Display(silent=True))
    assert not any(key.startswith("scaled_") for figures in found["students"]["student"].values() for key in figures)


def test_it_needs_a_validation_split():
    with pytest.raises(LimbeckError, match="evaluate: validation needs a validation split"):
        plan({**TREE, "data": {"source": "digits", "validation": 0, "evaluate": "validation"}}, "t")


def test_runs_from_before_keep_their_identity():
    stage = plan({**TREE, "data": {"source": "digits", "validation": 100}}, "t")
    assert stage.plain("student")["data"]["evaluate"] == "test"
    assert "data.evaluate" not in effective(stage.plain("student"))
    assert effective(plan(TREE, "t").plain("student"))["data.evaluate"] == "validation"


def test_headings_say_what_figures_are_of():
    tested, held_out = {"data": {"evaluate": "test"}}, {"data": {"evaluate": "validation"}}
    assert evaluated_on([{"data": {}}, tested]) == "Test set"
    assert evaluated_on([held_out]) == "Validation split"
    assert evaluated_on([tested, held_out]) == "Test set and Validation split (mixed!)"
