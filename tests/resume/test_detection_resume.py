"""A detector whose training was stopped goes on to the same bits, losses and boxes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from limbeck.recipes.read import plan
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

METHODS = {
    "pskd": {"method": {"name": "pskd", "memory": "model"}},
    "dml": {"method": "dml"},
    "labels": {},
}


def train(tree, folder):
    with Display(silent=True) as display:
        return plan(tree, "recipe").run(folder, Runtime("cpu", 1, 1), display)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["faster_rcnn", "ssdlite"])
def test_a_stopped_detector_goes_on_to_the_same_bits(detection, tmp_path, stopped, kind, name):
    tree = detection(kind) | METHODS[name]
    tree["model"] |= {"frozen": False}
    if name == "dml":
        tree["peers"] = [tree["model"]]
    tree["optimiser"] = {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
    tree["training"] = {"epochs": 2, "batch_size": 2, "checkpoint_steps": 2, "accumulate": 2, "ema": 0.9}
    train(tree, tmp_path / "whole")
    with stopped(7):
        train(tree, tmp_path / "again")
    assert not (tmp_path / "again" / "results.json").exists()
    train(tree, tmp_path / "again")
    names = ["student-0", "student-1"] if name == "dml" else ["student"]
    for student in names:
        one, other = (load_file(tmp_path / run / f"{student}.safetensors") for run in ("whole", "again"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    for file in ("metrics.jsonl", *(f"detections{student.removeprefix('student')}.json" for student in names)):
        whole, again = ((tmp_path / run / file).read_bytes() for run in ("whole", "again"))
        assert whole == again, file
    figures = [json.loads((tmp_path / run / "results.json").read_text())["students"] for run in ("whole", "again")]
    assert figures[0] == figures[1]
