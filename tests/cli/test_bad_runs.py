"""What goes wrong while a run is going on: it stops with one line, and the same command goes on from there."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.cli import main
from limbeck.train import loop


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


def test_a_loss_that_is_not_a_number_names_step_and_term(refused, tmp_path):
    words = ("optimiser.lr=1e12", "training.epochs=3", "schedule.warmup=0")
    said = refused("train", "digits/baseline", *words, "--folder", "run", after=1)
    assert "the loss became NaN or infinite at step " in said
    assert "in the term label" in said
    assert not (tmp_path / "run/results.json").exists()


def test_no_checkpoint_holds_a_weight_that_is_not_a_number(refused, tmp_path):
    words = ("optimiser.lr=1e12", "training.epochs=3", "training.checkpoint_steps=1", "schedule.warmup=0")
    said = refused("train", "digits/baseline", *words, "--folder", "run", after=1)
    assert " is NaN or infinite after step " in said
    newest = max((tmp_path / "run/checkpoints").iterdir())
    weights = torch.load(newest, weights_only=True)["objective"]
    assert all(value.isfinite().all() for value in weights.values() if isinstance(value, torch.Tensor))


def test_an_unfinished_run_is_neither_compared_nor_evaluated_nor_taught_from(limbeck, refused, tiny, stop_at):
    stop_at(3)
    with_stop = ("digits/baseline", "training.checkpoint_steps=1", "--folder", "runs/half")
    assert limbeck("train", *with_stop).code == 130
    stop_at(0)
    assert refused("compare", "runs/half").startswith("runs/half holds no finished run")
    assert refused("evaluate", "runs/half").startswith("runs/half has no results.json")
    said = refused("train", "digits/baseline", "method=kd", "teacher.run=runs/half")
    assert said.startswith("runs/half has no results.json: it is no run, or not a finished one")
    tiny("digits/baseline", "--folder", "runs/whole")
    compared = limbeck("compare", "runs")
    assert compared.code == 0
    assert compared.err == "left out, since it is not finished: runs/half\n"


def test_a_stopped_run_says_so_and_ends_alike_even_over_a_damaged_checkpoint(limbeck, small, stop_at, tmp_path):
    command = ("train", "digits/pskd", *small, "training.epochs=3", "training.checkpoint_steps=1", "--folder")
    assert limbeck(*command, "whole").code == 0
    stop_at(5)
    stopped = limbeck(*command, "run")
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "limbeck: stopped; the same command continues from the last checkpoint"
    stop_at(0)
    newest = max((tmp_path / "run/checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    ran = limbeck(*command, "run")
    assert f"checkpoint run/checkpoints/{newest.name} is damaged; falling back to the one before it" in ran.err
    assert results("run") == results("whole")


def test_a_folder_that_holds_another_run_says_what_differs(refused, tiny, small):
    tiny("digits/baseline", "--folder", "run")
    said = refused("train", "digits/baseline", *small, "training.epochs=3", "--folder", "run")
    assert said.startswith("run holds another run (training.epochs is 2 there and 3 here)")
    said = refused("train", "digits/label_smoothing", *small, "--folder", "run")
    assert "method.name is cross_entropy there and label_smoothing here" in said
    said = refused("train", "digits/baseline", "data.split_seed=1", *small, "--folder", "run")
    assert "data.split_seed is 0 there and 1 here" in said


def test_a_run_is_not_written_into_the_folder_of_a_study(refused, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/study.json").write_text("{}")
    said = refused("train", "digits/baseline", "--folder", "s")
    assert said == "s is the folder of a study (study.json): choose another one"
    assert not (tmp_path / "s/recipe.yaml").exists()


def test_two_runs_cannot_write_one_folder(refused, tmp_path):
    (tmp_path / "run").mkdir()
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held'); sys.stdin.read()"
    )
    command = [sys.executable, "-u", "-c", hold, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        said = refused("train", "digits/baseline", "--folder", "run")
        other.stdin.close()
    assert said == "another process is writing run; wait for it or choose another folder"


@pytest.fixture
def full_after(monkeypatch):
    """Return a function that lets so many writes through and leaves no room for more, until it is undone."""
    real, calls = os.fsync, []

    def arm(writes):
        def full(descriptor):
            calls.append(1)
            if len(calls) > writes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", full)

    yield arm
    monkeypatch.setattr(os, "fsync", real)


def test_a_full_disk_leaves_nothing_half_written(refused, small, full_after, tmp_path):
    full_after(0)
    said = refused("train", "digits/baseline", *small, "--folder", "run")
    assert said == "cannot write run/recipe.yaml: No space left on device; what was there before is untouched"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert refused("copy", "digits/kd", "mine.yaml").startswith("cannot write mine.yaml: No space left on device")
    assert not (tmp_path / "mine.yaml").exists()


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(refused, tiny, small, full_after, tmp_path):
    full_after(14)
    said = refused("train", "digits/baseline", *small, "--folder", "run", after=2)
    assert said.startswith("cannot write run/")
    assert not list(tmp_path.rglob(".unfinished-*"))
    full_after(10**9)
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
    assert said == (
        "cannot write run/metrics.jsonl: No space left on device; mend that, and the same command continues from the "
        "last checkpoint"
    )


def test_a_folder_that_cannot_be_written_is_named(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write into file/run" in refused("train", "digits/baseline", "--folder", "file/run")


def test_other_errors_are_bugs_and_keep_their_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["limbeck", "list"])
    monkeypatch.setattr("limbeck.report.catalogue.catalogue", lambda kind: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()
