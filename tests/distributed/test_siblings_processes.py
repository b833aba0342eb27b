"""CS-KD in two processes equals CS-KD in one: siblings are drawn by example id."""

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

RECIPE = ["train", "digits/cskd", "model.norm=none", "training.epochs=2", "training.batch_size=49", "data.mix=mixup"]


def test_two_processes_equal_one(tmp_path):
    found = []
    for devices in ("1", "2"):
        folder = tmp_path / devices
        options = ["--accelerator", "cpu", "--devices", devices, "--folder", str(folder)]
        command = [sys.executable, "-m", "limbeck", *RECIPE, *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found.append(load_file(folder / "student.safetensors"))
    one, two = found
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-5)
