"""Matchers between detectors: on levels of the pyramid, on layers that they choose themselves, and what they pull."""

import json

import pytest
import torch

from limbeck.core import Clock, Objective, Room
from limbeck.core.layers import probe, stage_ends
from limbeck.errors import LimbeckError
from limbeck.matching import AttentionTransfer
from limbeck.models import ModelSpec, build_model
from limbeck.recipes.read import plan
from limbeck.targets import CrossEntropy
from limbeck.tasks import Detection
from limbeck.teachers import Teacher
from limbeck.teachers.relation import outline
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

KINDS = ["faster_rcnn", "ssdlite", "retinanet"]
PYRAMID = ["fpn.layer_blocks.0", "fpn.layer_blocks.1"]
MATCHERS = {
    "at": {"name": "at"},
    "at, pyramid": {"name": "at", "layers": PYRAMID, "teacher_layers": PYRAMID},
    "fitnet": {"name": "fitnet"},
    "fitnet, pyramid": {"name": "fitnet", "layer": PYRAMID[0], "teacher_layer": PYRAMID[0]},
    "ie": {"name": "ie", "matcher": "at"},
}


def train(tree, folder):
    with Display(silent=True) as display:
        return plan(tree, "recipe").run(folder, Runtime("cpu", 1, 1), display)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def taught(detection, tmp_path_factory):
    """Return a function that gives the recipe of a student with a matcher, taught by a run that is made once."""
    runs = {}

    def recipe(kind, matcher, **student):
        tree = detection(kind) | {"training": {"epochs": 1, "batch_size": 4}}
        if kind not in runs:
            wider = {"width": 16, "head": 24} if kind == "faster_rcnn" else {}
            runs[kind] = tmp_path_factory.mktemp(kind) / "run"
            train(tree | {"model": tree["model"] | wider}, runs[kind])
        return tree | {"matchers": [matcher], "teacher": {"run": str(runs[kind])}} | student

    return recipe


@pytest.mark.parametrize("name", MATCHERS)
def test_matchers_stand_beside_kd_between_detectors(taught, tmp_path, name):
    train(taught("faster_rcnn", MATCHERS[name], method="kd"), tmp_path / "run")
    (line,) = lines_of(tmp_path / "run")
    assert {"label", "teacher", "loss_boxes"} <= set(line)
    terms = {key.removeprefix("gradient share/") for key in line if key.startswith("gradient share/")}
    assert len(terms) == (2 if name == "ie" else 1)
    for term in terms:
        # what explores is rewarded for being elsewhere
        assert line[term] < 0 if "explore" in term else line[term] > 0
        assert 0 < line[f"gradient share/{term}"] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_matchers_need_no_targets(taught, tmp_path, kind):
    train(taught(kind, {"name": "at"}), tmp_path / "run")
    (line,) = lines_of(tmp_path / "run")
    (share,) = [value for key, value in line.items() if key.startswith("gradient share/")]
    assert 0 < share < 1
    assert "teacher" not in line


def test_matchers_compare_peers(detection, tmp_path):
    tree = detection() | {"training": {"epochs": 1, "batch_size": 4}}
    train(tree | {"peers": [tree["model"]], "matchers": [{"name": "at", "between": "peers"}]}, tmp_path / "run")
    (line,) = lines_of(tmp_path / "run")
    assert len([key for key in line if key.startswith("gradient share/")]) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_found_with_and_without_weights(detection, kind):
    spec = plan(detection(kind), "recipe").student.model
    torch.manual_seed(0)
    network = build_model(spec, 3, 3).train()
    there, outlined = (probe(one, (3, 64, 64)) for one in (network, outline(spec, 3)))
    ends = [layer.path for layer in stage_ends(there)]
    assert ends == [layer.path for layer in stage_ends(outlined)]
    assert [there[path].shape for path in ends] == [outlined[path].shape for path in ends]
    assert ends[:2] == (["body.layers.layer1.relu", "extra.0.0"] if kind == "ssdlite" else PYRAMID)
    assert all(module.training for module in network.modules())


def test_shares_of_the_gradient_count_all_that_a_detector_pays(detection):
    """Labels and boxes, whose gradients run through the same maps: what AT pulls is a share of both and its own."""
    stage = plan(detection(), "recipe").student
    splits = stage.data.load("cpu")
    torch.manual_seed(0)
    student, teacher = (build_model(stage.model, 3, 3) for _ in range(2))
    layers = ("body.layers.layer1.relu", "body.layers.layer2.relu")
    matcher = AttentionTransfer(weight=1000.0, layers=layers, teacher_layers=layers)
    method = CrossEntropy()
    objective = Objective(
        method.cohort([student]), method, Detection(), Teacher(teacher), Room(8), [matcher], splits.train.shape
    )
    (batch,) = next(iter(splits.train.epoch(0, batch_size=4, seed=0))).parts
    kept = {}
    handles = [
        student.get_submodule(path).register_forward_hook(lambda _, i, output, path=path: kept.update({path: output}))
        for path in layers
    ]
    step = objective.train()(batch, Clock(0, 1, 0, 2))
    (share,) = step.gradient_shares.values()
    (term,) = [name for name in step.parts if name not in ("label",) and not name.startswith("loss_")]
    plain = Objective(method.cohort([student]), method, Detection(), None, Room(8)).train()
    maps = list(kept.values())
    for handle in handles:
        handle.remove()
    both = torch.autograd.grad(step.loss, maps, retain_graph=True)
    kept.clear()
    handles = [
        student.get_submodule(path).register_forward_hook(lambda _, i, output, path=path: kept.update({path: output}))
        for path in layers
    ]
    alone = torch.autograd.grad(plain(batch, Clock(0, 1)).loss, list(kept.values()))
    for handle in handles:
        handle.remove()
    norm = torch.stack([one.square().sum() for one in alone]).sum().sqrt()
    pull = torch.stack([(one - other).square().sum() for one, other in zip(both, alone, strict=True)]).sum().sqrt()
    assert float(step.parts[term]) > 0
    assert float(share) == pytest.approx(float(pull / (pull + norm)), rel=1e-3)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("fpn.layer_blocks.9", "the student has no layer 'fpn.layer_blocks.9' that puts out a tensor; did you mean"),
        ("rpn.head.cls_logits", "layer 'rpn.head.cls_logits' of the student runs 3 times in a forward pass"),
        ("roi_heads.box_roi_pool", "the student has no layer 'roi_heads.box_roi_pool' that puts out a tensor"),
    ],
)
def test_layers_that_cannot_be_matched_are_refused_before_anything_is_trained(detection, tmp_path, layer, said):
    tree = detection()
    student = {"matchers": [{"name": "at", "layers": [layer]}], "teacher": {"stage": "teacher"}}
    with pytest.raises(LimbeckError) as refused:
        train(tree | {"stages": {"teacher": {}, "student": student}}, tmp_path / "run")
    assert f"stage 'student': matchers: {said}" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "stages").exists()


def test_what_is_read_of_boxes_is_no_layer_of_the_images():
    """Boxes are read at 7x7, whatever the picture: on one of 28x28 pixels, as large as a level of the pyramid."""
    torch.manual_seed(0)
    options = {"backbone": {"name": "cnn", "width": 4}, "stages": 2, "width": 8, "head": 16, "boxes": 16}
    network = build_model(ModelSpec("faster_rcnn", options), 3, 3)
    assert [layer.path for layer in stage_ends(probe(network, (3, 28, 28)))] == PYRAMID
