"""What goes wrong while a run is going on: it stops with one line, and the same command goes on from there."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
import torch

from limbeck.cli import main
from limbeck.train import loop

PSKD = ("digits/pskd", "training.epochs=4", "training.checkpoint_steps=1", "--folder", "run")


@pytest.fixture
def stop_at(monkeypatch):
    """Return a function that makes Ctrl-C come during the n-th step."""
    real = loop.rate_at

    def arm(step):
        calls = []

        def stopping(*arguments):
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(loop, "rate_at", stopping)

    yield arm
    monkeypatch.setattr(loop, "rate_at", real)


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text())["students"]


def test_a_loss_that_is_not_a_number_names_step_and_term_and_keeps_the_checkpoint_before(refused, tmp_path):
    words = ("optimiser.lr=1e12", "training.epochs=3", "training.checkpoint_steps=1", "schedule.warmup=0")
    said = refused("train", "digits/baseline", *words, "--folder", "run", after=1)
    assert "the loss became NaN or infinite at step " in said
    assert "in the term label" in said
    step = int(said.partition("at step ")[2].partition(",")[0])
    newest = max((tmp_path / "run/checkpoints").iterdir())
    state = torch.load(newest, weights_only=True)
    assert state["step"] == step
    assert not (tmp_path / "run/results.json").exists()


def test_a_stopped_run_says_so_and_ends_as_if_it_had_not_been_stopped(limbeck, tiny, stop_at):
    tiny(*PSKD[:3], "--folder", "whole")
    stop_at(6)
    stopped = limbeck("train", *PSKD[:1], "data.examples=60", "data.validation=100", "training.batch_size=30",
                      "schedule.warmup=0", *PSKD[1:])  # fmt: skip
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "limbeck: stopped; the same command continues from the last checkpoint"
    assert "Traceback" not in stopped.err


def test_an_unfinished_run_is_neither_compared_nor_evaluated_nor_taught_from(limbeck, refused, tiny, stop_at):
    stop_at(3)
    with_stop = ("digits/baseline", "training.checkpoint_steps=1", "--folder", "runs/half")
    assert limbeck("train", *with_stop).code == 130
    stop_at(0)
    assert refused("compare", "runs/half").startswith("runs/half holds no finished run")
    assert refused("evaluate", "runs/half").startswith("runs/half has no student.safetensors")
    said = refused("train", "digits/baseline", "method=kd", "teacher.run=runs/half")
    assert said.startswith("runs/half has no student.safetensors: it is no run, or not a finished one")
    tiny("digits/baseline", "--folder", "runs/whole")
    compared = limbeck("compare", "runs")
    assert compared.code == 0
    assert compared.err == "left out, since it is not finished: runs/half\n"


def test_a_damaged_checkpoint_is_passed_over_aloud(limbeck, tiny, stop_at, tmp_path):
    tiny(*PSKD[:3], "--folder", "whole")
    stop_at(6)
    command = ("digits/pskd", *PSKD[1:])
    with pytest.raises(AssertionError):
        tiny(*command)
    stop_at(0)
    newest = max((tmp_path / "run/checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    ran = tiny(*command)
    assert f"checkpoint run/checkpoints/{newest.name} is damaged; falling back to the one before it" in ran.err
    assert results("run") == results("whole")


def test_a_folder_that_holds_another_run_says_what_differs(refused, tiny):
    tiny("digits/baseline", "--folder", "run")
    words = ("data.examples=60", "data.validation=100", "training.batch_size=30", "schedule.warmup=0")
    said = refused("train", "digits/baseline", *words, "training.epochs=3", "--folder", "run")
    assert said.startswith("run holds another run (training.epochs is 2 there and 3 here)")
    said = refused("train", "digits/label_smoothing", *words, "training.epochs=2", "--folder", "run")
    assert "method.name is cross_entropy there and label_smoothing here" in said
    said = refused("train", "digits/baseline", "data.split_seed=1", *words, "training.epochs=2", "--folder", "run")
    assert "data.split_seed is 0 there and 1 here" in said


def test_two_runs_cannot_write_one_folder(refused, tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refused("train", "digits/baseline", "--folder", "run")
    assert said == "another process is writing run; wait for it or choose another folder"


@pytest.mark.parametrize("writes", [1, 8, 15])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(refused, tiny, monkeypatch, tmp_path, writes):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) >= writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        words = ("data.examples=60", "data.validation=100", "training.batch_size=30", "schedule.warmup=0")
        said = refused("train", "digits/baseline", *words, "training.epochs=2", "--folder", "run", after=2)
    assert said.startswith("cannot write run/")
    assert "No space left on device" in said
    assert not list(tmp_path.rglob(".unfinished-*"))
    tiny("digits/baseline", "--folder", "run")
    tiny("digits/baseline", "--folder", "other")
    assert results("run") == results("other")


def test_no_room_for_the_log_is_one_line_as_well(refused, monkeypatch, tmp_path):
    real = Path.open

    def full(self, mode="r", *arguments, **named):
        if self.name == "metrics.jsonl" and mode == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    said = refused("train", "digits/baseline", "training.epochs=1", "--folder", "run", after=1)
    assert said == "run/metrics.jsonl: No space left on device; mend that, and the same command continues"


def test_a_folder_that_cannot_be_written_is_named(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write into file/run" in refused("train", "digits/baseline", "--folder", "file/run")


def test_other_errors_are_bugs_and_keep_their_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["limbeck", "list"])
    monkeypatch.setattr("limbeck.report.catalogue.catalogue", lambda kind: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()
