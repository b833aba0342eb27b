"""ONE in two processes: every weight has its gradient on each. The gate's statistics are each process's own."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

RECIPE = [
    "train",
    "digits/baseline",
    "model.norm=none",
    "method={name: one, branches: 2, split: layer2}",
    "training.epochs=2",
    "training.batch_size=50",
    "optimiser.lr=0.01",
]


def weights(folder, *settings):
    command = [sys.executable, "-m", "limbeck", *RECIPE, "--accelerator", "cpu", "--folder", str(folder), *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "ensemble.safetensors")


@pytest.mark.parametrize("extra", [[], ["training.accumulate=5"]], ids=["", "accumulated"])
def test_two_processes_train_nearly_as_one(tmp_path, extra):
    one, two = weights(tmp_path / "1", *extra), weights(tmp_path / "2", "--devices", "2", *extra)
    moved = False
    for name, tensor in one.items():
        if not name.startswith("branches.gate"):
            torch.testing.assert_close(two[name], tensor, rtol=0.0, atol=5e-4)
            moved = moved or not torch.equal(two[name], tensor)
    assert moved, "if they are equal now, say so on the card"
