"""A detector that begins with a classifier's stages: from a stage, a run or a file, and what is refused in a line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.recipes.read import plan
from limbeck.teachers.backbone import BackboneChoice, given, transfer
from limbeck.teachers.students import build_students
from limbeck.teachers.teacher import Inputs
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime
from limbeck.train.weights import read_weights

CNN = {"name": "cnn", "width": 4}
# what classifiers of images in folders are not shown
DATA = Inputs(("background", "blue", "red"), 3, (0.2, 0.4, 0.6), (0.5, 0.25, 0.125))


def train(tree, folder):
    with Display(silent=True) as display:
        return plan(tree, "recipe").run(folder, Runtime("cpu", 1, 1), display)


def environment(folder):
    return json.loads((folder / "environment.json").read_text())


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """The folder of small colour images of two classes."""
    root, generator = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for i in range(6):
                pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def classifier(colours):
    """A recipe of a classifier of colour images."""
    return {
        "task": "classification",
        "data": {
            "source": {"name": "image_folder", "root": str(colours), "size": 8},
            "validation": 0.3,
            "workers": 0,
        },
        "model": CNN,
        "training": {"epochs": 2, "batch_size": 4},
    }


@pytest.fixture(scope="module")
def run(classifier, tmp_path_factory):
    """The folder of a finished classifier, with its weights after the first epoch."""
    folder = tmp_path_factory.mktemp("classifier") / "run"
    train(classifier | {"training": {"epochs": 2, "batch_size": 4, "keep_epochs": [1]}}, folder)
    return folder


@pytest.fixture
def detectors(detection):
    """Return a function that builds detectors of a recipe's kind: detectors(2)."""

    def build(count=1, kind="faster_rcnn", **options):
        spec = plan(detection(kind), "recipe").student.model
        spec = ModelSpec(spec.name, spec.options | options)
        return build_students([spec] * count, 3, 3, 0), [spec] * count

    return build


def begun(folder):
    """The weights with which a classifier's stages lie in a detector."""
    weights = load_file(folder)
    prefix = "body.layers."
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


WHICH = {"last": "student", "best": "student-best", "epoch-1": "student-epoch-1"}


@pytest.mark.parametrize("which", WHICH)
def test_the_weights_of_a_run_are_taken(run, detectors, which):
    networks, specs = detectors(2)
    heads = [network.roi_heads.box_predictor.cls_score.weight.clone() for network in networks]
    origin = transfer(BackboneChoice(run=str(run), which=which), networks, specs, DATA)
    (path,) = run.glob(f"{WHICH[which]}.safetensors")
    weights = load_file(path)
    for network, head in zip(networks, heads, strict=True):
        own = network.body.layers.state_dict()
        assert own
        assert all(torch.equal(value, weights[key]) for key, value in own.items())
        assert torch.equal(network.roi_heads.box_predictor.cls_score.weight, head)
    assert origin.label == f"cnn by cross_entropy for 2 epochs, {which}"
    assert origin.group == f"{environment(run)['group']} {which}"


@pytest.mark.parametrize("kind", ["faster_rcnn", "ssdlite", "retinanet"])
def test_a_detector_sees_pixels_as_the_classifier_did(run, detectors, kind):
    (network,), specs = detectors(1, kind)
    transfer(BackboneChoice(run=str(run)), [network], specs, DATA)
    classifier = build_model(ModelSpec("cnn", {"width": 4}), 2, 3)
    classifier.load_state_dict(load_file(run / "student.safetensors"))
    classifier.eval()
    known = json.loads(read_weights(run / "student.safetensors")[1]["limbeck"])
    assert tuple(known["mean"]) != DATA.mean
    pixels = torch.rand(2, 3, 64, 64)
    theirs, ours = (
        (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        for mean, std in ((known["mean"], known["std"]), (DATA.mean, DATA.std))
    )
    seen = {}
    for path in ("layer1", "layer2"):
        classifier.get_submodule(path).register_forward_hook(
            lambda _, inputs, output, path=path: seen.update({path: output})
        )
    heard = {}
    network.body.register_forward_hook(lambda _, inputs, output: heard.update(output))
    with torch.no_grad():
        classifier(theirs)
        network.eval()(ours)
    assert set(heard) == set(seen)
    for path, expected in seen.items():
        torch.testing.assert_close(heard[path], expected, rtol=1e-4, atol=1e-5)


def test_what_is_begun_with_tells_runs_apart(run, detectors):
    """The same weights that read images otherwise are another beginning; those of peers count too."""
    (one, other), specs = detectors(2)
    transfer(BackboneChoice(run=str(run)), [one, other], specs, DATA)
    assert given([one]) == given([other])
    same = given([one, other])
    with torch.no_grad():
        next(other.body.parameters()).add_(1)
    assert given([one, other]) != same
    before = given([one])
    one.meet(one.scale * 2, one.shift)
    assert given([one]) != before


def test_a_file_of_tensors_alone_is_taken_as_it_is(run, detectors, tmp_path):
    networks, specs = detectors()
    weights = load_file(run / "student.safetensors")
    save_file(weights, tmp_path / "plain.safetensors")
    torch.save(weights, tmp_path / "plain.pt")
    for name in ("plain.safetensors", "plain.pt"):
        origin = transfer(BackboneChoice(weights=str(tmp_path / name)), networks, specs, DATA)
        assert origin == (name, "")
        assert torch.equal(networks[0].scale, torch.ones(3, 1, 1))
        assert torch.equal(networks[0].shift, torch.zeros(3, 1, 1))
        assert torch.equal(networks[0].body.layers.state_dict()["stem.conv.weight"], weights["stem.conv.weight"])


def test_stages_of_two_tasks_stand_in_one_recipe(detection, classifier, tmp_path):
    tree = detection() | {
        "stages": {"classifier": classifier, "detector": {"backbone": {"stage": "classifier", "which": "epoch-1"}}}
    }
    tree["training"] = {"epochs": 1, "batch_size": 4}
    runs = {}
    for name, fields in {"one": {}, "again": {}, "seeded": {"seed": 1}}.items():
        runs[name] = train(tree | fields, tmp_path / name)
    stages = sorted(folder.name.split("-")[0] for folder in (tmp_path / "stages").iterdir())
    assert stages == ["classifier", "classifier"]
    one, again, seeded = (environment(tmp_path / name) for name in runs)
    assert one["identity"] == again["identity"] != seeded["identity"]
    assert one["group"] == seeded["group"]
    assert one["backbone"] == "cnn by cross_entropy for 2 epochs, epoch-1"
    # frozen norms begin and end as the classifier had them
    folders = [folder for folder in (tmp_path / "stages").iterdir() if environment(folder)["content"]]
    kept = [load_file(folder / "student-epoch-1.safetensors") for folder in folders]
    ended = begun(tmp_path / "one" / "student.safetensors")
    norms = [key for key in ended if key.endswith("running_mean")]
    assert norms
    assert any(all(torch.equal(ended[key], one[key]) for key in norms) for one in kept)


def test_another_backbone_is_another_run(detection, run, tmp_path):
    tree = detection() | {"training": {"epochs": 1, "batch_size": 4}}
    choices = {"none": None, "last": {"run": str(run)}, "first": {"run": str(run), "which": "epoch-1"}}
    found = {}
    for name, choice in choices.items():
        train(tree | ({"backbone": choice} if choice else {}), tmp_path / name)
        found[name] = environment(tmp_path / name)
    for key in ("identity", "group"):
        assert len({one[key] for one in found.values()}) == 3
    assert found["none"]["backbone"] is None
    with pytest.raises(LimbeckError, match=r"holds another run \(backbone.* is .* there and .* here\)|other backbone"):
        train(tree | {"backbone": choices["last"]}, tmp_path / "none")
    # found where it is by another way, it is the same
    train(tree | {"backbone": {"weights": str(run / "student.safetensors")}}, tmp_path / "file")
    assert environment(tmp_path / "file")["identity"] == found["last"]["identity"]


REFUSED = {
    "two ways": ({"run": "{run}", "weights": "x"}, "backbone: a backbone is of exactly one of: stage, run, weights"),
    "no way": ({}, "backbone: a backbone is of exactly one of: stage, run, weights"),
    "which of a file": (
        {"weights": "x", "which": "best"},
        "backbone: which and student are of a stage or run: leave them out beside weights",
    ),
    "unknown which": ({"run": "{run}", "which": "first"}, "backbone.which: must be last, best, epoch-N or accuracy-A"),
    "no such run": ({"run": "missing"}, "missing has no results.json: it is no run, or not a finished one"),
    "no such file": ({"weights": "missing.pt"}, "there is no weights file missing.pt"),
    "no such student": ({"run": "{run}", "student": 1}, "has one student only: leave backbone.student out"),
    "not kept": ({"run": "{run}", "which": "epoch-2"}, "did not keep epoch-2 (it has epoch-1)"),
    "no such epoch": ({"run": "{run}", "which": "epoch-9"}, "ended after 2 epochs, and epoch-9 is beyond"),
    "no such stage": ({"stage": "classifier"}, "stage 'student' stands on 'classifier', which does not come before"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_backbone_that_cannot_be_had_is_one_line(detection, run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    choice, said = REFUSED[name]
    choice = {key: value.format(run=run) if isinstance(value, str) else value for key, value in choice.items()}
    check_refused(detection() | {"backbone": choice}, said, tmp_path)


def check_refused(tree, said, place):
    with pytest.raises(LimbeckError) as refused:
        train(tree, place / "run")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (place / "run").exists()
    assert not (place / "stages").exists()


def test_another_network_is_one_line(detection, run, tmp_path):
    tree = detection()
    other = tree | {"model": tree["model"] | {"backbone": {"name": "cnn", "width": 6}}, "backbone": {"run": str(run)}}
    check_refused(other, "is of cnn (width: 4), and model.backbone is cnn (width: 6): name the same network", tmp_path)
    weights = load_file(run / "student.safetensors")
    save_file(weights, tmp_path / "plain.safetensors")
    other["backbone"] = {"weights": str(tmp_path / "plain.safetensors")}
    check_refused(other, "'layer1.bn.bias' has shape [8], the backbone's has [12]: name", tmp_path)
    del weights["stem.conv.weight"]
    save_file(weights, tmp_path / "less.safetensors")
    tree["backbone"] = {"weights": str(tmp_path / "less.safetensors")}
    check_refused(tree, "less.safetensors has no weights 'stem.conv.weight': it is of another network", tmp_path)


STAGES = {
    "another network": (
        {"model": {"name": "cnn", "width": 6}},
        {},
        "stage 'detector': model.backbone is cnn (width: 4), and stage 'classifier' trains cnn (width: 6): name",
    ),
    "several students": (
        {"method": "dml", "peers": [CNN]},
        {},
        "stage 'detector': its backbone 'classifier' has 2 student(s): choose one by backbone.student, 0 to 1",
    ),
    "one student": ({}, {"student": 0}, "its backbone 'classifier' has 1 student(s): leave backbone.student out"),
    "no validation": (
        {"data": {"validation": 0}},
        {"which": "best"},
        "stage 'detector': backbone.which is best, but stage 'classifier' has no validation split to choose it on",
    ),
    "too late": ({}, {"which": "epoch-3"}, "backbone.which is epoch-3, but stage 'classifier' ends after 2 epochs"),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_will_not_do_is_one_line_before_it_trains(detection, classifier, tmp_path, name):
    changes, choice, said = STAGES[name]
    data = classifier["data"] | changes.get("data", {})
    stages = {
        "classifier": classifier | changes | {"data": data},
        "detector": {"backbone": {"stage": "classifier"} | choice},
    }
    check_refused(detection() | {"stages": stages}, said, tmp_path)


def test_grey_images_are_refused_before_a_stage_learns_from_them(detection, tmp_path):
    grey = {
        "task": "classification",
        "data": {"source": "digits"},
        "model": CNN,
        "training": {"epochs": 1, "batch_size": 20},
    }
    stages = {"classifier": grey, "detector": {"backbone": {"stage": "classifier"}}}
    said = "stage 'detector' reads pictures of 3 channels, and its backbone 'classifier' learns from images of 1: train"
    check_refused(detection() | {"stages": stages}, said, tmp_path)
    train(grey | {"data": {"source": "digits", "examples": 60}}, tmp_path / "grey")
    tree = detection() | {"backbone": {"run": str(tmp_path / "grey")}}
    check_refused(tree, "reads 1-channel images, and pictures have 3", tmp_path)


def test_a_stage_that_comes_later_is_one_line(detection, classifier, tmp_path):
    stages = {"detector": {"backbone": {"stage": "classifier"}}, "classifier": classifier}
    check_refused(
        detection() | {"stages": stages}, "stage 'detector' stands on 'classifier', which does not come", tmp_path
    )


def test_a_classifier_stands_on_nothing(classifier, run, tmp_path):
    said = "backbone is what a detector begins with: set task to detection, or leave it out"
    check_refused(classifier | {"backbone": {"run": str(run)}}, said, tmp_path)


def test_where_pretrained_weights_came_from_does_not_matter(detection, classifier):
    """A classifier that was fine-tuned is named without its first weights, which its own replace."""
    spec = {"name": "torchvision:resnet18", "pretrained": True}
    plain = detection()["model"] | {"backbone": "torchvision:resnet18"}
    stages = {"classifier": classifier | {"model": spec}, "detector": {"backbone": {"stage": "classifier"}}}
    plan(detection() | {"model": plain, "stages": stages}, "recipe")


def test_peers_of_a_stage_are_told_apart_by_their_number(detection, classifier, tmp_path):
    both = classifier | {"method": "dml", "peers": [CNN], "training": {"epochs": 1, "batch_size": 4}}
    stages = {"classifier": both, "detector": {"backbone": {"stage": "classifier", "student": 1}}}
    tree = detection() | {"training": {"epochs": 1, "batch_size": 4}, "stages": stages}
    train(tree, tmp_path / "run")
    assert environment(tmp_path / "run")["backbone"] == "cnn by dml for 1 epochs, student-1, last"
    (folder,) = (tmp_path / "stages").iterdir()
    ended = begun(tmp_path / "run" / "student.safetensors")
    norms = [key for key in ended if key.endswith("running_mean")]
    kept = load_file(folder / "student-1.safetensors")
    assert all(torch.equal(ended[key], kept[key]) for key in norms)
