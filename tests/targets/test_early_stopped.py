"""Early-stopped distillation: the teacher's term ends, by an epoch or by the validation error."""

import pytest
import torch
from pydantic import ValidationError

import limbeck
from limbeck.core import Batch, Clock, LimbeckError, Output, Step, Until
from limbeck.core.stopping import AtEpoch, Past, Patience
from limbeck.recipes.read import plan
from limbeck.targets import CrossEntropy, Hinton
from limbeck.tasks.classification import Classification
from limbeck.train.job import effective
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime

PAIR = {
    "data": {"source": "digits", "examples": 100, "validation": 100},
    "model": {"name": "cnn", "width": 2},
    "training": {"epochs": 6, "batch_size": 50},
    "stages": {
        "teacher": {"model": {"width": 4}},
        "student": {
            "method": {"name": "kd", "alpha": 0.9, "temperature": 4.0, "stop": {"name": "patience", "epochs": 1}},
            "teacher": {"stage": "teacher"},
        },
    },
}


def teacher(view):
    generator = torch.Generator().manual_seed(0)
    return Output(view.flatten(1) @ torch.randn(64, 4, generator=generator))


def weights_at(method, epoch, students=1):
    """Return (label's weight, teacher's weight) of each student in an epoch (counted from 0)."""
    batch = Batch(torch.arange(3), (torch.zeros(3, 1, 2, 2),), torch.arange(3))
    units = [Classification().units(Output(torch.randn(3, 4)), batch)] * students
    lessons = method.write(Step(batch, Clock(epoch, 5), units, units))
    return [tuple(target.weight for target in targets) for targets in lessons]


def naive_stop(errors, patience):
    """Return how many epochs have the term, by the words of the rule."""
    for epoch in range(1, len(errors) + 1):
        lowest = min(errors[:epoch])
        age = epoch - 1 - errors.index(lowest)
        if age >= patience:
            return epoch
    return len(errors) + 1


def test_two_readings_of_what_the_label_weighs_afterwards():
    whole, rest = Hinton(0.9, stop=AtEpoch(2)), Hinton(0.9, stop=AtEpoch(2), label_after="rest")
    for epoch in (0, 1):
        assert weights_at(whole, epoch) == weights_at(rest, epoch) == [(pytest.approx(0.1), pytest.approx(0.9))]
    for epoch in (2, 4):
        assert weights_at(whole, epoch) == [(1.0, 0.0)]
        assert weights_at(rest, epoch) == [(pytest.approx(0.1), 0.0)]


def test_whole_is_what_until_says(train, weights):
    until = weights(train(Hinton(Until(0.7, 1), 2.0), teacher))
    assert torch.equal(until, weights(train(Hinton(0.7, 2.0, stop=AtEpoch(1)), teacher)))
    rest = weights(train(Hinton(0.7, 2.0, stop=AtEpoch(1), label_after="rest"), teacher))
    assert not torch.allclose(until, rest, atol=1e-5)


@pytest.mark.parametrize("label_after", ["whole", "rest"])
def test_a_stop_at_the_end_is_kd_bit_for_bit_and_one_at_the_start_cross_entropy(train, weights, label_after):
    kd = weights(train(Hinton(0.7, 2.0), teacher))
    assert torch.equal(kd, weights(train(Hinton(0.7, 2.0, stop=AtEpoch(3), label_after=label_after), teacher)))
    never = weights(train(Hinton(0.7, 2.0, stop=AtEpoch(0), label_after=label_after), teacher))
    plain = weights(train(CrossEntropy()))
    assert torch.equal(never, plain) == (label_after == "whole")


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize(
    "errors",
    [
        [0.9, 0.8, 0.8, 0.7, 0.9, 0.9, 0.1, 0.1],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2],
        [0.1, 0.9, 0.9, 0.05, 0.9, 0.9, 0.9, 0.9],
    ],
)
def test_patience_ends_the_term_as_its_words_say_and_it_does_not_come_back(errors, patience):
    method = Hinton(0.9, stop=Patience(patience))
    taught = []
    for epoch, error in enumerate(errors):
        ((_, weight),) = weights_at(method, epoch)
        taught.append(weight > 0)
        method.validated([error])
    wanted = naive_stop(errors, patience)
    assert taught == [epoch < wanted for epoch in range(len(errors))]


def test_each_student_stops_by_itself():
    method = Hinton(0.9, stop=Patience(1))
    for pair in ([0.9, 0.9], [0.8, 0.9]):
        method.validated(pair)
    assert [weight > 0 for _, weight in weights_at(method, 2, students=2)] == [True, False]
    assert method.figures() == {"distilling/0": 1.0, "distilling/1": 0.0}
    twin = Hinton(0.9, stop=Patience(1))
    twin.load_state_dict(method.state_dict())
    assert weights_at(twin, 2, students=2) == weights_at(method, 2, students=2)


def run(folder, *overrides):
    with Display(silent=True) as display:
        return plan(PAIR, "here", overrides).run(folder, Runtime("cpu", 1, 1), display)


def test_a_run_stops_by_its_validation_split_and_resumes_to_the_same_bits(tmp_path, stopped):
    options = ("training.checkpoint_steps=1", "optimiser={name: sgd, lr: 0.5}")
    whole = run(tmp_path / "whole", *options)
    lines = read(tmp_path / "whole" / "metrics.jsonl")
    wanted = naive_stop([line["validation/error"] for line in lines], 1)
    assert 1 < wanted < 6, "choose settings in which the term ends in the middle"
    assert [line["distilling"] for line in lines] == [float(line["epoch"] <= wanted) for line in lines]
    for stop_at in (2 * wanted - 1, 2 * wanted, 2 * wanted + 1):
        place = tmp_path / f"cut-{stop_at}"
        with stopped(12 + stop_at):  # after the teacher's 12 steps
            run(place / "run", *options)
        again = run(place / "run", *options)
        assert again["students"] == whole["students"]
        assert read(place / "run" / "metrics.jsonl") == lines


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("{stop: {name: epoch, epoch: 7}}", r"method\.stop\.epoch is 7, after the last of 6 epochs: lower it"),
        ("{stop: {name: patience, epochs: 6}}", r"method\.stop\.epochs is 6, and never over in 6 epochs: lower it"),
        ("{stop: {name: patience, epochs: 0}}", r"method\.stop\.epochs: must be at least 1"),
        ("{stop: {name: epochs, epoch: 3}}", r"unknown name 'epochs'; did you mean 'epoch'"),
        ("{stop: null, label_after: rest}", r"label_after says what the label weighs after stop: set stop"),
        ("{label_after: half}", r"method\.label_after: must be 'whole' or 'rest'"),
    ],
)
def test_a_stop_that_means_nothing_is_one_line(changes, reason):
    with pytest.raises(LimbeckError, match=reason) as told:
        plan(PAIR, "here", [f"stages.student.method={changes}"])
    assert "\n" not in str(told.value)


def test_patience_needs_a_validation_split(tiny):
    with pytest.raises(LimbeckError, match=r"the method stops by the validation error: set data\.validation"):
        plan(PAIR, "here", ["data.validation=0"])
    _, network = tiny
    images = [(torch.rand(1, 8, 8), i % 4) for i in range(16)]
    few = {"batch_size": 8, "progress": False}
    method = {"name": "kd", "stop": {"name": "patience", "epochs": 1}}
    with pytest.raises(LimbeckError, match="stops by the validation error, and there is no validation split"):
        limbeck.distil(network(), images, images, method=method, teacher=network(1), validation=0, **few)
    late = {"name": "kd", "stop": {"name": "epoch", "epoch": 9}}
    with pytest.raises(LimbeckError, match=r"stop\.epoch is 9, after the last of 2 epochs"):
        limbeck.distil(network(), images, images, method=late, teacher=network(1), epochs=2, validation=0, **few)


def test_a_scale_shortens_a_stop_with_the_epochs():
    tree = {**PAIR, "training": {"epochs": 200}, "scale": "tiny"}
    student = PAIR["stages"]["student"]
    tree["stages"] = {
        **PAIR["stages"],
        "student": {**student, "method": {"name": "kd", "stop": {"name": "epoch", "epoch": 100}}},
    }
    assert plan(tree, "here").student.method.stop == AtEpoch(2)


def test_a_run_without_stop_keeps_the_identity_that_it_had():
    now = plan(PAIR, "here", ["stages.student.method.stop=null"]).plain("student")["stages"]["student"]
    assert not {key for key in effective(now) if key.startswith(("method.stop", "method.label_after"))}
    stopping = plan(PAIR, "here").plain("student")["stages"]["student"]
    assert effective(stopping)["method.stop.name"] == "patience"


def test_a_past_is_not_moved_by_its_rule():
    past = Past(0.3, 2)
    assert AtEpoch(3).note(past, 0.1) == past
    assert Patience(2).note(past, 0.1) == past
    assert Patience(3).note(past, 0.1) == Past(0.1, 0)
    with pytest.raises(ValidationError):
        Patience(0)
