"""Two processes equal one, on a network without batch statistics (these are per process by nature)."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

RECIPE = [
    "train",
    "digits/pskd",
    "model.norm=none",
    "training.epochs=3",
    "training.batch_size=49",
    "optimiser.lr=0.05",
    "data.mix=mixup",
]


def limbeck(launcher, arguments, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, *launcher, "-m", "limbeck", *RECIPE, *arguments, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    newest = torch.load(max((folder / "checkpoints").iterdir()), weights_only=True)
    return load_file(folder / "student.safetensors"), newest["objective"]["_extra_state"]["banks"][0]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    return limbeck([], ["--accelerator", "cpu"], tmp_path_factory.mktemp("runs") / "one")


@pytest.mark.parametrize(
    ("launcher", "arguments"),
    [
        pytest.param(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], [], id="torchrun"),
        pytest.param([], ["--devices", "2", "--accelerator", "cpu", "training.accumulate=2"], id="devices"),
    ],
)
def test_two_processes_equal_one(tmp_path, one_process, launcher, arguments):
    weights, bank = one_process
    both_weights, both_bank = limbeck(launcher, arguments, tmp_path / "two")
    for name, tensor in weights.items():
        torch.testing.assert_close(both_weights[name], tensor, rtol=1e-5, atol=1e-5)
    # every training example was recorded, and nobody else
    (rows, there), (both_rows, both_there) = bank["past"], both_bank["past"]
    assert torch.equal(there, both_there)
    assert int(there.sum()) == 300
    torch.testing.assert_close(both_rows, rows, rtol=1e-5, atol=1e-5)
