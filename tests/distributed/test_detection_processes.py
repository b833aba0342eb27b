"""Two processes equal one on pictures with boxes: losses, weights, and what is found."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

KINDS = {
    "labels": ("faster_rcnn", {}),
    "past": ("faster_rcnn", {"method": {"name": "pskd", "memory": "model"}}),
    "peers": ("faster_rcnn", {"method": "dml"}),
    "retinanet": ("retinanet", {}),
}
# 9 pictures of three sizes, so that processes have canvases of their own and unequal shares
SIZES = ((64, 64), (64, 96), (96, 64))


@pytest.fixture(scope="module")
def runs(one_and_two, detection, voc, tmp_path_factory):
    place, lines = tmp_path_factory.mktemp("recipes"), {}
    for name, (kind, fields) in KINDS.items():
        tree = detection(kind) | fields
        if kind == "faster_rcnn":
            # many, among which one more or less weighs little
            tree["model"] |= {"boxes": 128}
        tree["data"] |= {"source": tree["data"]["source"] | {"root": str(voc(train=9, test=5, sizes=SIZES))}}
        tree["data"] |= {"square": False, "longer": 96}
        if name == "peers":
            tree["peers"] = [tree["model"]]
        tree["optimiser"] = {"name": "sgd", "lr": 0.005, "momentum": 0.0, "weight_decay": 0.0}
        tree["training"] = {"epochs": 2, "batch_size": 5}
        (place / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        lines[name] = ["train", str(place / f"{name}.yaml")]
    lines["micro-batches"] = [*lines["labels"], "training.accumulate=2"]
    lines["exact micro-batches"] = [*lines["retinanet"], "training.accumulate=2"]
    return one_and_two(lines)


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_equal(one, other, exact):
    """Proposals of nearly equal scores outlive each other by the last bits: exact is only what proposes none."""
    for a, b in zip(logged(one), logged(other), strict=True):
        assert set(a) == set(b)
        for key, value in a.items():
            near = {"abs": 0.05} if key.startswith("error") else {"rel": 1e-6 if exact else 0.02, "abs": 1e-6}
            assert b[key] == pytest.approx(value, **near), key
    names = sorted(path.name for path in one.glob("student*.safetensors"))
    assert names
    for name in names:
        weights, also = load_file(one / name), load_file(other / name)
        for key, value in weights.items():
            torch.testing.assert_close(also[key], value, rtol=1e-5, atol=1e-6 if exact else 1e-3)
    for path in one.glob("detections*.json"):
        found, told = (json.loads((run / path.name).read_text()) for run in (one, other))
        assert [row["image_id"] for row in told] == sorted(row["image_id"] for row in told)
        assert {row["image_id"] for row in told} == {row["image_id"] for row in found}
        assert len(told) == pytest.approx(len(found), rel=0.05)


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_equal_one(runs, name):
    check_equal(runs / "one" / name, runs / "two" / name, KINDS[name][0] == "retinanet")


def test_micro_batches_equal_whole_ones(runs):
    for processes in ("one", "two"):
        check_equal(runs / "one" / "labels", runs / processes / "micro-batches", exact=False)
        check_equal(runs / "one" / "retinanet", runs / processes / "exact micro-batches", exact=True)
