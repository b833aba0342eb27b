import os

import pytest
import torch

from limbeck import files
from limbeck.core import LimbeckError
from limbeck.train.checkpoint import Checkpoints


def test_a_file_is_written_whole_and_leaves_nothing_else(tmp_path):
    files.write(tmp_path / "new" / "a.txt", "one")
    files.write(tmp_path / "new" / "a.txt", b"two")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "two"


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    files.write(target, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimbeckError, match=r"cannot write .*a\.txt: No space left on device"):
        files.write(target, "new")
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_newest_two_checkpoints_are_kept_and_the_newest_is_loaded(tmp_path):
    checkpoints = Checkpoints(tmp_path, print)
    assert checkpoints.load() is None
    for step in (5, 10, 15):
        checkpoints.save({"step": step, "weights": torch.ones(3) * step}, step)
    assert [path.name[:9] for path in sorted(tmp_path.iterdir())] == ["000000010", "000000015"]
    assert checkpoints.load()["step"] == 15


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-7], lambda data: data[:50] + b"X" + data[51:], lambda data: b""]
)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    said = []
    checkpoints = Checkpoints(tmp_path, said.append)
    for step in (1, 2):
        checkpoints.save({"step": step}, step)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoints.load() == {"step": 1}
    assert "damaged; falling back to the one before" in said[0]
    assert newest.name in said[0]


def test_when_all_are_damaged_nothing_is_started_over_silently(tmp_path):
    checkpoints = Checkpoints(tmp_path, lambda _: None)
    checkpoints.save({"step": 1}, 1)
    next(tmp_path.iterdir()).write_bytes(b"")
    with pytest.raises(LimbeckError, match="every checkpoint in .* is damaged"):
        checkpoints.load()


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / f"{files.TEMPORARY}abc").write_text("half")
    Checkpoints(tmp_path, print)
    assert not list(tmp_path.iterdir())
