"""Students that learn together in two processes are what they are in one: views, turns and shares are the same."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

RECIPE = [
    "train",
    "digits/baseline",
    "model={name: cnn, norm: none}",
    "peers=[{name: cnn, norm: none}]",
    "training.epochs=2",
    "training.batch_size=49",
    "optimiser.lr=0.05",
    "data.held_out=100",
]


@pytest.mark.parametrize(
    "method",
    ["{name: kdcl, ensemble: general}", "{name: kdcl, ensemble: linear}", "{name: dml, updates: alternating}"],
)
def test_two_processes_equal_one(tmp_path, method):
    found = []
    for devices in ("1", "2"):
        folder = tmp_path / devices
        options = ["--accelerator", "cpu", "--devices", devices, "--folder", str(folder)]
        command = [sys.executable, "-m", "limbeck", *RECIPE, f"method={method}", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        found.append(([load_file(folder / f"student-{i}.safetensors") for i in range(2)], last))
    (one, logged), (two, also) = found
    for mine, theirs in zip(one, two, strict=True):
        for name, tensor in mine.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-5, atol=1e-5)
    assert also == pytest.approx(logged, rel=1e-4, abs=1e-6)
    if "general" in method:
        assert logged["share/0"] != 0.5  # that is where it starts
        assert logged["share/0"] + logged["share/1"] == pytest.approx(1)
