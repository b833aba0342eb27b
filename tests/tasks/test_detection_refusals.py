"""What detection does not go together with: one line each, before anything is read."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.recipes.read import plan

PEERS = {"peers": [{"name": "faster_rcnn", "backbone": "cnn"}]}
TEACHER = {"teacher": {"run": "missing"}}
SSD = {"name": "ssdlite", "backbone": "cnn"}
RETINA = {"name": "retinanet", "backbone": "cnn"}

REFUSED = {
    "images": ({"data": {"source": "digits"}}, "data.source has no boxes: choose voc or coco, or set task to another"),
    "sentences": ({"data": {"source": "multi30k"}}, "data.source has no boxes: choose voc or coco"),
    "classifier": ({"model": "resnet8"}, "model: 'resnet8' is no detector: choose faster_rcnn, retinanet or ssdlite"),
    "translator": ({"model": "transformer"}, "model: 'transformer' is no detector: choose faster_rcnn"),
    "no backbone": ({"model": "faster_rcnn"}, "model 'faster_rcnn' needs a backbone: set model.backbone to"),
    "detector as backbone": (
        {"model": {"name": "faster_rcnn", "backbone": {"name": "ssdlite", "backbone": "cnn"}}},
        "model 'faster_rcnn': its backbone 'ssdlite' is no classifier: choose one",
    ),
    "two kinds": ({"method": "dml", "peers": [SSD]}, "peers tell the classes of the same boxes: take one kind of det"),
    "bank": (
        {"method": "pskd"},
        "method: PSKD remembers each example, and boxes are chosen anew each time: set memory",
    ),
    "siblings": ({"method": "cskd"}, "method: CSKD pairs examples of one class, which pictures have none of"),
    "copies": (
        {"method": {"name": "one", "branches": 2, "split": "fpn"}},
        "method: ONE makes its students of one classifier",
    ),
    "held out": (
        {"method": {"name": "kdcl", "ensemble": "general", "views": "shared"}} | PEERS,
        "method: KDCL asks about held-out images",
    ),
    "own views": (
        {"method": "kdcl"} | PEERS,
        "method: KDCL shows each student a view of its own, and boxes are compar",
    ),
    "trace": ({"training": {"trace": True}}, "training.trace sorts images"),
    "shuffle": ({"training": {"shuffle": "process"}}, "training.shuffle process keeps images on their processes"),
    "cache": (
        {"method": "kd", "teacher": {"run": "missing", "cache": "answers"}},
        "teacher.cache records answers to images",
    ),
    "kd of RetinaNet": (
        {"model": RETINA, "method": "kd"} | TEACHER,
        "method: Hinton has targets for a distribution over classes, and retinanet's scores are none: take faster_rcnn",
    ),
    "smoothed RetinaNet": ({"model": RETINA, "method": "label_smoothing"}, "method: LabelSmoothing has targets for a"),
    "oblong SSD": (
        {"model": SSD, "data": {"source": {"name": "voc", "root": "missing"}}},
        "ssdlite's anchors are shares of what it sees, in training that of the largest picture of a step: set data.squ",
    ),
    "sides": (
        {"data": {"source": {"name": "voc", "root": "missing"}, "shorter": 64, "longer": 32}},
        "longer is 32, but shorter is 64: raise longer",
    ),
    "classification": ({"task": "classification"}, "data.source has no images with classes: set task to the one that"),
    "translation": ({"task": "translation"}, "data.source has no aligned sentences: choose text or multi30k"),
    "no teacher": ({"method": "kd"}, "the method needs a teacher: give teacher.run, teacher.weights or teacher.stage"),
    "misspelled": ({"task": "detecton"}, "task: unknown name 'detecton'; did you mean 'detection'?"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_one_line(detection, name):
    change, said = REFUSED[name]
    with pytest.raises(LimbeckError) as refused:
        plan(detection() | change, "recipe")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_detectors_do_not_classify():
    with pytest.raises(LimbeckError, match="model: 'faster_rcnn' is for detection: set task to that"):
        plan({"data": {"source": "digits"}, "model": {"name": "faster_rcnn", "backbone": "cnn"}}, "recipe")


def test_what_labels_alone_need_is_not_refused(detection):
    for kind in ("faster_rcnn", "ssdlite", "retinanet"):
        plan(detection(kind), "recipe")
        plan(detection(kind) | {"peers": [detection(kind)["model"]]}, "recipe")
    plan(detection() | {"method": {"name": "pskd", "memory": "model"}}, "recipe")


def test_a_stage_of_another_task_shares_nothing_but_the_seed(detection):
    """Of the recipe's data, model, optimiser and training a classifier has nothing: it has the defaults."""
    tree = detection() | {
        "seed": 3,
        "training": {"epochs": 7, "batch_size": 2, "clip": 5.0},
        "method": "label_smoothing",
    }
    classifier = {"task": "classification", "data": {"source": "digits"}, "model": "resnet8"}
    found = plan(tree | {"stages": {"classifier": classifier, "detector": {}}}, "recipe", ["training.epochs=9"]).stages
    assert (found["classifier"].seed, found["detector"].seed) == (3, 3)
    assert found["classifier"].training.clip is None
    assert found["classifier"].training.epochs != 9
    assert found["detector"].training.epochs == 9
    assert type(found["classifier"].method).__name__ == "CrossEntropy"
    assert type(found["detector"].method).__name__ == "LabelSmoothing"


def test_a_stage_that_names_the_recipes_own_task_shares_all(detection):
    found = plan(detection() | {"stages": {"one": {}, "two": {"task": "detection"}}}, "recipe").stages
    assert found["one"] == found["two"]
