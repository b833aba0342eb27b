"""The trace of two processes is that of one."""

import os
import subprocess
import sys

import pytest

from limbeck.train.record import read

RECIPE = [
    "train",
    "digits/pskd",
    "model.norm=none",
    "training.epochs=2",
    "training.batch_size=49",
    "training.checkpoint_steps=4",
    "training.trace=true",
    "optimiser.lr=0.05",
    "--accelerator",
    "cpu",
]


def lines(folder, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, "-m", "limbeck", *RECIPE, *arguments, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return read(folder / "metrics.jsonl")


def test_two_processes_trace_what_one_does(tmp_path):
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two", "--devices", "2")
    assert len(one) == 2
    for alone, together in zip(one, two, strict=True):
        assert alone.keys() == together.keys()
        names = [name for name in alone if name.startswith("rescaling/")]
        assert len(names) == 20
        for name in names:
            # an example whose condition holds by a hair may fall on either side
            near = {"abs": 0.02} if name.endswith("/holds") else {"rel": 1e-3}
            assert together[name] == pytest.approx(alone[name], **near), name
