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
    "--accelerator",
    "cpu",
]


def limbeck(place, *arguments, devices=1, cache="cache"):
    """Run a command on the recipe in a folder that has the trained teacher already."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    own = [f"stages.student.teacher.cache={place / cache}", "--devices", str(devices)]
    command = [sys.executable, "-m", "limbeck", *arguments, *RECIPE, *own]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of one process, which filled the cache by training."""
    folder = tmp_path_factory.mktemp("cache")
    done = limbeck(folder, "train", "--folder", str(folder / "one"))
    assert done.returncode == 0, done.stderr
    return folder


def rows(cache):
    """Return all rows of a cache, whole."""
    return [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32) for path in sorted(cache.glob("*-v*"))]


def close(one, two):
    for mine, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("command", ["record", "train"])
def test_two_processes_record_and_replay_what_one_does(place, command):
    folder = ["--folder", str(place / f"two-{command}")]
    words = ["teacher", "record"] if command == "record" else ["train"]
    done = limbeck(place, *words, *folder, devices=2, cache=command)
    assert done.returncode == 0, done.stderr
    close(rows(place / "cache"), rows(place / command))
    if command == "record":
        # one replays what two recorded, and two what one recorded
        done = limbeck(place, "train", "--folder", str(place / "again"), cache=command)
        assert done.returncode == 0, done.stderr
        done = limbeck(place, "train", *folder, devices=2)
        assert done.returncode == 0, done.stderr
        close(*(load_file(place / run / "student.safetensors").values() for run in ("one", "again")))
    close(*(load_file(place / run / "student.safetensors").values() for run in ("one", f"two-{command}")))


def test_a_damaged_row_stops_all_processes(place):
    path = place / "cache" / "epoch-1-values.bin"
    sound = path.read_bytes()
    path.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    done = limbeck(place, "train", "--folder", str(place / "refused"), devices=2)
    path.write_bytes(sound)
    assert done.returncode != 0
    assert done.stderr.count("is damaged in epoch 1, row 0: let `limbeck teacher record` ask") == 1
    assert not (place / "refused" / "student.safetensors").exists()
