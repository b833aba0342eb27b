"""A teacher's cache of two processes equals that of one: recorded ahead, recorded in training, and replayed."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

RECIPE = [
    "digits/kd",
    "model.norm=none",
    "stages.teacher.model.norm=none",
    "training.epochs=2",
    "training.batch_size=49",
    "optimiser.lr=0.05",
    "data.examples=100",
    "data.mix=mixup",
    "data.view_seed=3",
    "data.cycle=2",
]


def line(place, *arguments, cache="cache"):
    """Return a command line on the recipe, with a cache in a folder."""
    return [*arguments, *RECIPE, f"stages.student.teacher.cache={place / cache}"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, alone):
    """A folder with a run of one process, which filled the cache by training."""
    folder = tmp_path_factory.mktemp("cache")
    alone(*line(folder, "train", "--folder", str(folder / "one")))
    return folder


def rows(cache):
    """Return all rows of a cache, whole."""
    return [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32) for path in sorted(cache.glob("*-v*"))]


def close(one, two):
    for mine, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_two_processes_record_and_replay_what_one_does(place, alone, both):
    both(
        line(place, "teacher", "record", "--folder", str(place / "two-record"), cache="record"),
        # two replay what one recorded
        line(place, "train", "--folder", str(place / "two-record")),
        line(place, "train", "--folder", str(place / "two-train"), cache="train"),
    )
    # and one what two recorded
    alone(*line(place, "train", "--folder", str(place / "again"), cache="record"))
    for cache in ("record", "train"):
        close(rows(place / "cache"), rows(place / cache))
    for run in ("again", "two-record", "two-train"):
        close(*(load_file(place / name / "student.safetensors").values() for name in ("one", run)))


def test_a_damaged_row_stops_all_processes(place):
    path = place / "cache" / "epoch-1-values.bin"
    sound = path.read_bytes()
    path.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    words = line(place, "train", "--folder", str(place / "refused"), "--accelerator", "cpu", "--devices", "2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, "-m", "limbeck", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    path.write_bytes(sound)
    assert done.returncode != 0
    assert done.stderr.count("is damaged in epoch 1, row 0: let `limbeck teacher record` ask") == 1
    assert not (place / "refused" / "student.safetensors").exists()
