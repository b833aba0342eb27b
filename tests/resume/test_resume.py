"""A run that is stopped anywhere goes on as if it had not been."""

import contextlib
import errno
import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.core.imitation import Target
from limbeck.core.writer import TargetWriter
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


def spoil(folder):
    """Damage the newest checkpoint, and return it with what it held."""
    newest = max((folder / "checkpoints").iterdir())
    content = newest.read_bytes()
    newest.write_bytes(content[:-1])
    return newest, content


@pytest.mark.parametrize(
    ("window", "steps", "refused"),
    [
        # the older checkpoint needs the epoch before, whose rows are written over from the first step of the next one
        (1, None, {9, 10, 11}),
        (2, None, set()),
        # or there is an older one of the same epoch
        (1, 1, set()),
        (1, 2, {9}),
        (2, 1, set()),
    ],
)
def test_a_damaged_checkpoint_with_files_is_exact_or_refused(train, weights, tmp_path, stopped, window, steps, refused):
    method = PSKD(0.8, bank="disk", window=window)
    whole = weights(train(method, folder=tmp_path / "whole"))
    for stop_at in range(8, 12):
        folder = tmp_path / f"cut-{stop_at}"
        with stopped(stop_at):
            train(method, folder=folder, checkpoint_steps=steps)
        newest, content = spoil(folder)
        if stop_at in refused:
            for _ in range(2):
                with pytest.raises(LimbeckError, match=r"over since; put a sound copy .* or train again") as told:
                    train(method, folder=folder, checkpoint_steps=steps)
                assert "\n" not in str(told.value)
            newest.write_bytes(content)
        assert torch.equal(whole, weights(train(method, folder=folder, checkpoint_steps=steps))), stop_at
        assert len(list((folder / "checkpoints").iterdir())) == 2


def test_a_line_cut_short_by_a_kill_is_passed_over(train, tmp_path):
    train(CrossEntropy(), folder=tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text()
    path.write_text(lines + '{"epoch": 4, "los')
    train(CrossEntropy(), folder=tmp_path / "run")
    assert path.read_text() == lines
    assert [json.loads(line)["epoch"] for line in lines.splitlines()] == [1, 2, 3]


@pytest.fixture
def largest_file():
    """Return a context in which no file can grow beyond so many bytes, which is how a full disk looks to a writer."""

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.mark.parametrize("bank", ["device", "disk"])
def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_one_before(
    train, weights, tmp_path, stopped, largest_file, bank
):
    whole = weights(train(PSKD(0.8, bank=bank), folder=tmp_path / "whole"))
    with stopped(6):
        train(PSKD(0.8, bank=bank), folder=tmp_path / "cut", checkpoint_steps=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "cut" / "checkpoints").iterdir()}
    for _ in range(2):
        with (
            largest_file(3000),
            pytest.raises(LimbeckError, match=r"cannot write .*\.pt: File too large; what") as told,
        ):
            train(PSKD(0.8, bank=bank), folder=tmp_path / "cut", checkpoint_steps=1)
        assert "\n" not in str(told.value)
        assert before == {path.name: path.read_bytes() for path in (tmp_path / "cut" / "checkpoints").iterdir()}
    again = train(PSKD(0.8, bank=bank), folder=tmp_path / "cut", checkpoint_steps=1)
    assert torch.equal(whole, weights(again))


def test_a_disk_too_full_for_the_bank_is_told_and_forgotten(train, weights, tmp_path, largest_file):
    whole = weights(train(PSKD(0.8, bank="disk"), folder=tmp_path / "whole"))
    with largest_file(500), pytest.raises(LimbeckError, match=r"cannot write into .*node-0: File too large"):
        train(PSKD(0.8, bank="disk"), folder=tmp_path / "cut")
    assert torch.equal(whole, weights(train(PSKD(0.8, bank="disk"), folder=tmp_path / "cut")))


@pytest.mark.parametrize("refused", range(5))
def test_rows_that_cannot_be_written_through_stop_the_run(train, weights, tmp_path, monkeypatch, refused):
    whole = weights(train(PSKD(0.8, bank="disk"), folder=tmp_path / "whole"))
    flush, calls = np.memmap.flush, []

    def full(self):
        calls.append(1)
        if len(calls) > 4 * refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(self)

    with monkeypatch.context() as patched:
        patched.setattr(np.memmap, "flush", full)
        with pytest.raises(LimbeckError, match=r"node-0: No space left on device; mend that, and the same") as told:
            train(PSKD(0.8, bank="disk"), folder=tmp_path / "cut", checkpoint_steps=2)
    assert "\n" not in str(told.value)
    again = train(PSKD(0.8, bank="disk"), folder=tmp_path / "cut", checkpoint_steps=2)
    assert torch.equal(whole, weights(again))


def test_a_line_that_cannot_be_written_stops_the_run(train, weights, tmp_path, monkeypatch):
    whole = weights(train(PSKD(0.8), folder=tmp_path / "whole"))
    write = Path.open

    def full(self, mode="r", *more, **named):
        if mode == "a" and len(read(self)) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, mode, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(LimbeckError, match=r"cannot write .*metrics.jsonl: No space left on device; mend that"):
            train(PSKD(0.8), folder=tmp_path / "cut")
    assert torch.equal(whole, weights(train(PSKD(0.8), folder=tmp_path / "cut")))
    assert read(tmp_path / "whole" / "metrics.jsonl") == read(tmp_path / "cut" / "metrics.jsonl")


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
