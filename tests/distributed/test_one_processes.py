"""ONE in two processes: every weight has its gradient on each. The gate's statistics are each process's own."""

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


EXTRAS = {"plain": [], "accumulated": ["training.accumulate=5"]}


@pytest.fixture(scope="module")
def place(one_and_two):
    return one_and_two({name: [*RECIPE, *extra] for name, extra in EXTRAS.items()})


@pytest.mark.parametrize("name", EXTRAS)
def test_two_processes_train_nearly_as_one(place, name):
    one, two = (load_file(place / processes / name / "ensemble.safetensors") for processes in ("one", "two"))
    moved = False
    for weight, tensor in one.items():
        if not weight.startswith("branches.gate"):
            torch.testing.assert_close(two[weight], tensor, rtol=0.0, atol=5e-4)
            moved = moved or not torch.equal(two[weight], tensor)
    assert moved, "if they are equal now, say so on the card"
