"""Files of past predictions: damaged, foreign, gone, held by another process, on a full disk."""

import json
import os
import subprocess
import sys

import pytest
import torch

from limbeck.core import LimbeckError, Room
from limbeck.memory import Dense, PredictionBank, TopK

EXAMPLES, CLASSES = 20, 4
IDS = torch.arange(EXAMPLES)
NOTHING = torch.zeros(EXAMPLES, CLASSES)


def said(seed):
    return torch.randn(EXAMPLES, CLASSES, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a bank on the disk."""

    def bank(format=Dense(), **options):
        return PredictionBank(Room(EXAMPLES, folder=tmp_path, data="these", **options), "disk", format)

    return bank


@pytest.fixture
def place(tmp_path):
    return tmp_path / "bank" / "student-0" / "node-0"


@pytest.fixture
def saved(make):
    """Return the state of a bank in the middle of its third epoch."""
    bank = make()
    for epoch in range(2):
        bank.record(IDS, said(epoch))
        bank.turn()
    bank.record(IDS[:10], said(2)[:10])
    return bank.state_dict()


def test_a_checkpoint_holds_no_rows(saved):
    assert set(saved) == {"epoch", "examples", "classes", "window", "format", "disk", "begun"}
    assert set(saved["disk"]) == {0}
    assert set(saved["disk"][0]) == {1}
    assert len(saved["disk"][0][1]) == 16


def test_the_files_are_what_they_are_said_to_be(saved, place):
    names = {path.name: path.stat().st_size for path in place.glob("*.bin")}
    assert names == {f"slot-{i}-{name}.bin": size for i in (0, 1) for name, size in (("values", 320), ("there", 20))}
    header = json.loads((place / "header.json").read_text())
    assert [slot["epoch"] for slot in header["slots"]] == [2, 1]
    assert [slot["checksums"] is None for slot in header["slots"]] == [True, False]


def by_another_process(folder):
    """Record the first epoch in a process of its own, and save the state."""
    script = """if True:
        import sys, torch
        from pathlib import Path
        from limbeck.core import Room
        from limbeck.memory import PredictionBank
        folder = Path(sys.argv[1])
        bank = PredictionBank(Room(20, folder=folder, data="these"), "disk")
        rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
        bank.record(torch.arange(20), rows)
        bank.turn()
        torch.save(bank.state_dict(), folder / "state.pt")
    """
    return subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)


def test_rows_come_back_from_another_process_when_it_has_ended(make, tmp_path):
    done = by_another_process(tmp_path)
    assert done.returncode == 0, done.stderr
    bank = make()
    bank.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(bank.recall(IDS, NOTHING), said(0))
    # and this process has them now
    refused = by_another_process(tmp_path)
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[-1].endswith(
        f"another process is writing {tmp_path}/bank/student-0/node-0: wait, or choose another folder"
    )


@pytest.mark.parametrize("file", ["slot-1-values.bin", "slot-1-there.bin"])
def test_a_damaged_file_is_named(saved, make, place, file):
    content = bytearray((place / file).read_bytes())
    content[7] ^= 1
    (place / file).write_bytes(content)
    with pytest.raises(
        LimbeckError, match=rf"{file} is damaged: put a copy of it back, or train again in a new folder"
    ):
        make().load_state_dict(saved)


@pytest.mark.parametrize("file", ["slot-1-values.bin", "slot-0-values.bin", "slot-0-there.bin"])
def test_a_file_that_is_gone_or_short_is_named(saved, make, place, file):
    os.truncate(place / file, 12)
    with pytest.raises(LimbeckError, match=rf"{file} is gone or cut short"):
        make().load_state_dict(saved)
    (place / file).unlink()
    with pytest.raises(LimbeckError, match=rf"{file} is gone or cut short"):
        make().load_state_dict(saved)


def test_a_header_that_is_gone_or_damaged_is_named(saved, make, place):
    (place / "header.json").write_text("{")
    with pytest.raises(LimbeckError, match=r"header\.json is damaged"):
        make().load_state_dict(saved)
    (place / "header.json").unlink()
    with pytest.raises(LimbeckError, match=r"header\.json is gone, and the checkpoint needs its predictions"):
        make().load_state_dict(saved)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "others"}, "other data"),
        ({"examples": 21}, "examples: 21 there, 20 here"),
        ({"classes": 5}, "classes: 5 there, 4 here"),
        ({"format": "float16"}, "format: float16 there, float32 here"),
        ({"nodes": 2}, "nodes: 2 there, 1 here"),
        ({"version": 0}, "version: 0 there, 1 here"),
    ],
)
def test_another_runs_files_are_neither_read_nor_written_over(saved, make, place, change, reason):
    header = json.loads((place / "header.json").read_text())
    (place / "header.json").write_text(json.dumps({**header, **change}))
    before = (place / "slot-1-values.bin").read_bytes()
    words = rf"holds another run's predictions \({reason}\): remove it, or choose another folder"
    with pytest.raises(LimbeckError, match=words):
        make().load_state_dict(saved)
    with pytest.raises(LimbeckError, match=words):
        make().record(IDS, said(0))
    assert (place / "slot-1-values.bin").read_bytes() == before


def test_a_bank_that_has_gone_on_without_the_checkpoint_is_refused(saved, make):
    bank = make()
    bank.load_state_dict(saved)
    bank.turn()
    # the begun epoch is over and can still be repeated; its slot is not written over yet
    again = make()
    again.load_state_dict(saved)
    again.record(IDS, said(2))
    again.turn()
    assert torch.equal(again.recall(IDS, NOTHING), said(2))
    again.record(IDS, said(3))
    with pytest.raises(LimbeckError, match=r"no longer holds the predictions of epoch 2 that the checkpoint needs"):
        make().load_state_dict(saved)


def test_the_same_rows_of_another_training_are_refused(saved, make):
    other = make()
    for epoch in range(3):
        other.record(IDS, said(10 + epoch))
        other.turn()
    with pytest.raises(LimbeckError, match="no longer holds the predictions of epoch 2"):
        make().load_state_dict(saved)


def test_a_new_start_over_a_run_of_the_same_is_a_new_start(saved, make):
    bank = make()
    bank.record(IDS, said(5))
    assert torch.equal(bank.recall(IDS, NOTHING), NOTHING)
    bank.turn()
    assert torch.equal(bank.recall(IDS, NOTHING), said(5))


def test_the_largest_entries_have_files_of_their_own(make, place):
    bank = make(TopK(2, "float16"))
    bank.record(IDS, said(0))
    bank.turn()
    names = {path.name: path.stat().st_size for path in place.glob("slot-0*")}
    assert names == {"slot-0-values.bin": 80, "slot-0-classes.bin": 80, "slot-0-there.bin": 20}
    twin = make(TopK(2, "float16"))
    twin.load_state_dict(bank.state_dict())
    assert torch.equal(twin.recall(IDS, NOTHING), bank.recall(IDS, NOTHING))


def test_a_full_disk_is_found_before_the_first_row(make, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(LimbeckError, match=r"cannot write into .*node-0: No space left on device"):
        make().record(IDS, said(0))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "bank").write_text("a file, not a folder")
    bank = PredictionBank(Room(EXAMPLES, folder=tmp_path), "disk")
    with pytest.raises(LimbeckError, match=r"cannot write into .*node-0: Not a directory"):
        bank.record(IDS, said(0))


def test_two_students_have_files_of_their_own(tmp_path):
    room = Room(EXAMPLES, folder=tmp_path, students=2)
    banks = [PredictionBank(room, "disk", student=student) for student in (0, 1)]
    for student, bank in enumerate(banks):
        bank.record(IDS, said(student))
        bank.turn()
    for student, bank in enumerate(banks):
        assert torch.equal(bank.recall(IDS, NOTHING), said(student))
