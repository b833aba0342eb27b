"""Two processes equal one, on a network without batch statistics (these are per process by nature)."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import Room
from limbeck.memory import PredictionBank

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


def learned(folder):
    """Return the weights and the bank's rows of a run."""
    newest = torch.load(max((folder / "checkpoints").iterdir()), weights_only=True)
    state = newest["objective"]["_extra_state"]["banks"][0]
    headers = list((folder / "bank").rglob("header.json"))
    data = json.loads(headers[0].read_text())["data"] if headers else ""
    bank = PredictionBank(Room(state["examples"], folder=folder, data=data), "ram")
    bank.load_state_dict(state)
    nobody = torch.full((state["examples"], state["classes"]), -1.0)
    return load_file(folder / "student.safetensors"), bank.recall(torch.arange(len(nobody)), nobody)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, alone):
    folder = tmp_path_factory.mktemp("runs") / "one"
    alone(*RECIPE, "--folder", str(folder))
    return learned(folder)


@pytest.mark.parametrize(
    ("launcher", "arguments"),
    [
        pytest.param(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], [], id="torchrun"),
        pytest.param([], ["--devices", "2", "--accelerator", "cpu", "training.accumulate=2"], id="devices"),
        pytest.param([], ["--devices", "2", "--accelerator", "cpu", "method.bank=disk"], id="disk"),
    ],
)
def test_two_processes_equal_one(tmp_path, one_process, launcher, arguments):
    weights, rows = one_process
    limbeck(launcher, arguments, tmp_path / "two")
    both_weights, both_rows = learned(tmp_path / "two")
    for name, tensor in weights.items():
        torch.testing.assert_close(both_weights[name], tensor, rtol=1e-5, atol=1e-5)
    # every training example was recorded, and nobody else
    assert int((rows[:, 0] >= 0).sum()) == 300
    torch.testing.assert_close(both_rows, rows, rtol=1e-5, atol=1e-5)
