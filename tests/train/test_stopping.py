"""Poor teachers: training that ends in the middle of its schedule, or at an accuracy."""

import pytest
import torch
from pydantic import ValidationError

from limbeck import files
from limbeck.core import LimbeckError
from limbeck.recipes import read_recipe
from limbeck.targets import CrossEntropy
from limbeck.train.kept import reached
from limbeck.train.loop import Training
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime


def run(folder, *overrides):
    settings = ["data.examples=200", "training.batch_size=50", *overrides]
    with Display(silent=True) as display:
        return read_recipe("digits/baseline", settings).run(folder, Runtime("cpu", 1, 1), display)


def test_a_stopped_run_is_the_beginning_of_the_whole_one(train, weights, tmp_path):
    whole, cut = (
        train(CrossEntropy(), folder=tmp_path / "whole"),
        train(CrossEntropy(), folder=tmp_path / "cut", stop_epoch=2),
    )
    assert read(tmp_path / "cut" / "metrics.jsonl") == read(tmp_path / "whole" / "metrics.jsonl")[:2]
    assert cut.epoch == 2
    assert not torch.equal(weights(whole), weights(cut))
    short = train(CrossEntropy(), epochs=2)
    assert not torch.equal(weights(short), weights(cut)), "a stopped run keeps the learning rates of the long one"


def test_stopping_after_the_last_epoch_is_refused():
    with pytest.raises(ValidationError, match="stop_epoch is 4, after the last of 3 epochs"):
        Training(epochs=3, stop_epoch=4)


def test_training_ends_at_the_accuracy_that_is_asked_for_and_a_second_call_finds_it_done(tmp_path):
    whole = run(tmp_path / "whole", "training.epochs=8")
    lines = read(tmp_path / "whole" / "metrics.jsonl")
    first = next(line["epoch"] for line in lines if line["validation/error"] <= 0.5)
    assert 1 < first < 8, "choose an accuracy that is reached in the middle"
    for _ in range(2):
        cut = run(tmp_path / "cut", "training.epochs=8", "training.stop_accuracy=0.5")
        assert cut["epochs"] == first
        assert read(tmp_path / "cut" / "metrics.jsonl") == lines[:first]
    assert whole["epochs"] == 8


def test_a_run_that_was_killed_after_its_accuracy_was_reached_ends_there(tmp_path):
    cut = run(tmp_path / "cut", "training.epochs=8", "training.stop_accuracy=0.5")
    (tmp_path / "cut" / "results.json").unlink()
    again = run(tmp_path / "cut", "training.epochs=8", "training.stop_accuracy=0.5")
    assert again["epochs"] == cut["epochs"]
    assert again["students"] == cut["students"]


def test_an_accuracy_that_is_never_reached_is_told_in_one_line(tmp_path):
    for _ in range(2):
        with pytest.raises(
            LimbeckError, match=r"never reached training\.stop_accuracy 0\.999 .* in 2 epochs; its best was 0\."
        ):
            run(tmp_path / "run", "training.epochs=2", "training.stop_accuracy=0.999")
    assert not (tmp_path / "run" / "results.json").exists()


def test_an_accuracy_needs_a_validation_split(tmp_path):
    with pytest.raises(LimbeckError, match="is read on the validation split: set data.validation"):
        run(tmp_path / "run", "data.validation=0", "training.stop_accuracy=0.5")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("accuracy", "error"), [(0.1, 1 - 0.1), (0.2, 1 - 0.2), (0.08, 1 - 0.08), (1.0, 0.0)])
def test_an_accuracy_that_is_met_exactly_is_reached(accuracy, error):
    """An error is 1 - accuracy in floating point, and 1 - error need not be the accuracy again."""
    assert reached({"validation/error": error}, accuracy)
    assert not reached({"validation/error": error + 1e-9}, accuracy)
    assert not reached({"validation/0/error": error, "validation/1/error": 1.0}, accuracy)
    assert not reached({"validation/error": error}, None)


def test_a_finished_run_says_how_many_epochs_it_had(tmp_path):
    run(tmp_path / "run", "training.epochs=3", "training.stop_epoch=1")
    assert files.read_json(tmp_path / "run" / "results.json")["epochs"] == 1
