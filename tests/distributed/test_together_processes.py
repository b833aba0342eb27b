"""Students that learn together in two processes are what they are in one: views, turns and shares are the same."""

import json

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


METHODS = {
    "general": "{name: kdcl, ensemble: general}",
    "linear": "{name: kdcl, ensemble: linear}",
    "alternating": "{name: dml, updates: alternating}",
}


@pytest.fixture(scope="module")
def place(one_and_two):
    return one_and_two({name: [*RECIPE, f"method={method}"] for name, method in METHODS.items()})


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_equal_one(place, method):
    found = []
    for processes in ("one", "two"):
        folder = place / processes / method
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        found.append(([load_file(folder / f"student-{i}.safetensors") for i in range(2)], last))
    (one, logged), (two, also) = found
    for mine, theirs in zip(one, two, strict=True):
        for name, tensor in mine.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-5, atol=1e-5)
    assert also == pytest.approx(logged, rel=1e-4, abs=1e-6)
    if method == "general":
        assert logged["share/0"] != 0.5  # that is where it starts
        assert logged["share/0"] + logged["share/1"] == pytest.approx(1)
