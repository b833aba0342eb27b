"""Two processes equal one with matchers: what these train, margins that are measured, coders of the teacher."""

import json

import pytest
import torch
from safetensors.torch import load_file

COMMON = [
    "model={name: cnn, width: 4, norm: none}",
    "training.epochs=2",
    "training.batch_size=20",
    "data.examples=60",
    "data.validation=0",
    "optimiser.lr=0.02",
]
TAUGHT = [
    "digits/kd",
    *COMMON,
    "stages.teacher.model={name: cnn, width: 6, norm: none}",
    # OD's connectors have batch norms, of another batch in each process: there the margins alone are the same
    "stages.student.matchers=[{name: at, weight: 20.0}, {name: ft, weight: 20.0, coder_epochs: 2},"
    " {name: ie, matcher: {name: ft, weight: 20.0, coder_epochs: 2}, split: random},"
    " {name: od, weight: 0.0, margin: measured}]",
    "training.accumulate=2",
]
BETWEEN = [
    "digits/baseline",
    *COMMON,
    "peers=[{name: cnn, width: 4, norm: none}]",
    "matchers=[{name: ie, matcher: {name: at, between: peers, weight: 20.0}}]",
]


RECIPES = {"taught": TAUGHT, "between": [*BETWEEN, "method={name: dml, updates: alternating}"]}


@pytest.fixture(scope="module")
def place(one_and_two):
    return one_and_two({f"{name}/run": ["train", *recipe] for name, recipe in RECIPES.items()})


def trained(folder):
    found = {}
    for stage in [folder, *sorted((folder.parent / "stages").glob("*"))]:
        for path in stage.glob("*.safetensors"):
            # the name ends with a hash of the teacher, whose weights differ by rounding
            found |= {
                f"{stage.name.partition('-')[0]} {path.name} {name}": tensor for name, tensor in load_file(path).items()
            }
    return found, json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_equal_one(place, recipe):
    (one, logged), (two, also) = (trained(place / processes / recipe / "run") for processes in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        if "connectors" not in name:
            torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5, msg=lambda text, name=name: name + text)
    coders = {name.split()[0] for name in one if "coder.safetensors" in name}
    assert coders == ({"paraphraser"} if recipe == "taught" else set())
    margins = [tensor for name, tensor in one.items() if "margin" in name]
    assert all((margin < 0).any() for margin in margins)
    assert bool(margins) == (recipe == "taught")
    # how much a term pulls is of the first process's part of a batch
    same = {name for name in logged if not name.startswith("gradient share") and "overhaul" not in name}
    assert logged.keys() == also.keys()
    assert {name: also[name] for name in same} == pytest.approx({name: logged[name] for name in same}, rel=1e-3)
