"""A run that is stopped anywhere goes on as if it had not been."""

import json

import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.core.imitation import Target
from limbeck.core.objective import TargetWriter
from limbeck.errors import NonFiniteLossError
from limbeck.targets import PSKD, CrossEntropy
from limbeck.train.record import read


def said(state):
    """Return what the student said in the last epoch, as the bank holds it."""
    bank = state.objective.writer._past.banks[0]
    return bank.recall(torch.arange(61), torch.zeros(61, 4))


@pytest.mark.parametrize("stop_at", [1, 4, 6, 9, 11])
@pytest.mark.parametrize("extra", [{}, {"ema": 0.9, "accumulate": 2, "mix": True}])
def test_a_run_stopped_after_any_step_ends_with_the_same_bits(train, weights, tmp_path, stopped, stop_at, extra):
    settings = {"checkpoint_steps": 3, **extra}
    whole = train(PSKD(0.8), folder=tmp_path / "whole", **settings)
    with stopped(stop_at):
        train(PSKD(0.8), folder=tmp_path / "cut", **settings)
    again = train(PSKD(0.8), folder=tmp_path / "cut", **settings)

    assert torch.equal(weights(whole), weights(again))
    assert torch.equal(said(whole), said(again))
    assert read(tmp_path / "whole" / "metrics.jsonl") == read(tmp_path / "cut" / "metrics.jsonl")


@pytest.mark.parametrize("stop_at", [2, 4, 6, 11])
@pytest.mark.parametrize(
    "method",
    [
        PSKD(0.8, bank="disk"),
        PSKD(0.8, bank="disk", dtype="float16", top_k=2, window=2, average=0.3),
        PSKD(0.8, memory="model"),
    ],
    ids=["disk", "compressed", "model"],
)
def test_other_memories_resume_to_the_same_bits(train, weights, tmp_path, stopped, method, stop_at):
    settings = {"checkpoint_steps": 3, "mix": True}
    whole = weights(train(method, folder=tmp_path / "whole", **settings))
    with stopped(stop_at):
        train(method, folder=tmp_path / "cut", **settings)
    again = weights(train(method, folder=tmp_path / "cut", **settings))
    assert torch.equal(whole, again)


@pytest.mark.parametrize(("first", "then"), [("device", "disk"), ("disk", "ram"), ("disk", "device")])
def test_a_run_goes_on_with_its_past_in_another_home(train, weights, tmp_path, stopped, first, then):
    whole = weights(train(PSKD(0.8)))
    with stopped(6):
        train(PSKD(0.8, bank=first), folder=tmp_path / "cut", checkpoint_steps=1)
    assert torch.equal(whole, weights(train(PSKD(0.8, bank=then), folder=tmp_path / "cut", checkpoint_steps=1)))


def test_a_damaged_checkpoint_costs_an_epoch_and_no_bit(train, weights, tmp_path):
    whole = train(PSKD(0.8))
    train(PSKD(0.8), folder=tmp_path / "cut")
    newest = max((tmp_path / "cut" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    assert torch.equal(weights(whole), weights(train(PSKD(0.8), folder=tmp_path / "cut")))


def test_a_line_cut_short_by_a_kill_is_passed_over(train, tmp_path):
    train(CrossEntropy(), folder=tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text()
    path.write_text(lines + '{"epoch": 4, "los')
    train(CrossEntropy(), folder=tmp_path / "run")
    assert path.read_text() == lines
    assert [json.loads(line)["epoch"] for line in lines.splitlines()] == [1, 2, 3]


class Poisoned(TargetWriter):
    """Becomes NaN in the second epoch."""

    def write(self, step):
        weight = float("nan") if step.clock.step >= 6 else 1.0
        return [[Target("label"), weight * Target("poison")] for _ in step.students]


def test_a_nan_stops_names_step_and_term_and_keeps_the_last_good_checkpoint(train, tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"NaN or infinite at step 6, in the term"):
        train(Poisoned(), folder=tmp_path / "run", checkpoint_steps=1)
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    assert newest.name.startswith("000000006-")
    state = torch.load(newest, weights_only=True)
    assert all(value.isfinite().all() for value in state["objective"].values() if isinstance(value, torch.Tensor))


def test_a_nan_is_a_users_error():
    assert issubclass(NonFiniteLossError, LimbeckError)
