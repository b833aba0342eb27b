"""Recipes whose stages are of several tasks: what they share, and how a scale shrinks them."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, parameters
from limbeck.models.table import backbone_of, untrained
from limbeck.recipes.read import plan
from limbeck.recipes.scale_boxes import BOX_SCALES
from limbeck.teachers.backbone import frozen_at_random
from limbeck.teachers.relation import outline

CLASSIFIER = {"task": "classification", "data": {"source": "digits", "validation": 0}, "model": "resnet20"}


def recipe(**changes):
    return {
        "task": "detection",
        "data": {"source": {"name": "voc", "root": "nowhere"}, "shorter": 300, "longer": 400},
        "model": {"name": "faster_rcnn", "backbone": "resnet20", "stages": 2},
        "optimiser": {"name": "sgd", "lr": 0.08, "nesterov": False},
        "training": {"epochs": 40, "batch_size": 16},
        "seed": 7,
        "stages": {"classifier": CLASSIFIER, "detector": {"backbone": {"stage": "classifier"}}},
        **changes,
    }


def test_a_stage_of_another_task_has_the_seed_alone_from_its_recipe():
    found = plan(recipe(), "mine").stages
    assert found["classifier"].seed == found["detector"].seed == 7
    assert found["classifier"].training.batch_size == 128
    assert found["classifier"].optimiser.lr == 0.1
    assert found["classifier"].model == ModelSpec("resnet20")
    assert found["detector"].training.batch_size == 16


def test_overrides_reach_the_stages_of_the_recipes_own_task():
    found = plan(recipe(), "mine", ["training.epochs=5", "seed=3"]).stages
    assert [stage.training.epochs for stage in found.values()] == [30, 5]
    assert [stage.seed for stage in found.values()] == [3, 3]
    found = plan(recipe(), "mine", ["scale=small", "training.epochs=5", "stages.classifier.data.source=digits"]).stages
    assert [stage.training.epochs for stage in found.values()] == [30, 5]


@pytest.mark.parametrize("scale", BOX_SCALES)
def test_a_scale_shrinks_both_and_keeps_them_together(scale):
    limits = BOX_SCALES[scale]
    found = plan(recipe(scale=scale), "mine").stages
    classifier, detector = found.values()
    assert backbone_of(detector.model) == classifier.model != ModelSpec("resnet20")
    assert detector.training.epochs == limits.epochs
    assert (detector.data.examples, detector.data.shorter, detector.data.longer) == (
        limits.examples,
        limits.shorter,
        limits.longer,
    )
    assert detector.optimiser.lr == pytest.approx(0.08 * limits.batch_size / 16)
    assert detector.model.options["width"] == limits.options["width"]


def test_a_scale_grows_nothing():
    small = {
        "data": {"source": {"name": "voc", "root": "nowhere"}, "shorter": 40, "longer": 50, "examples": 4, "tested": 3},
        "training": {"epochs": 1, "batch_size": 2},
    }
    detector = plan(recipe(scale="tiny", **small), "mine").student
    assert (detector.data.shorter, detector.data.longer, detector.data.examples, detector.data.tested) == (40, 50, 4, 3)
    assert (detector.training.epochs, detector.training.batch_size) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"stages": {"detector": {"backbone": {"run": "runs/mine"}}}},
            "mine: scale tiny cannot shrink a backbone that is not a stage of the recipe: train it as a stage, or "
            "leave the scale out",
        ),
        (
            {
                "model": {"name": "faster_rcnn", "backbone": {"name": "torchvision:resnet18", "pretrained": True}},
                "stages": {"detector": {}},
            },
            "mine: scale tiny cannot shrink the pretrained 'torchvision:resnet18': leave pretrained out, or the scale",
        ),
        (
            {
                "stages": {
                    "translator": {
                        "task": "translation",
                        "data": {"source": {"name": "text", "source": "de", "target": "en", "root": "nowhere"}},
                        "model": "transformer",
                    },
                    "detector": {},
                }
            },
            "mine: scale tiny shrinks detection and classification alone: leave the scale out",
        ),
    ],
)
def test_what_a_scale_cannot_shrink_is_refused(changes, line):
    with pytest.raises(LimbeckError) as error:
        plan(recipe(scale="tiny", **changes), "mine")
    assert str(error.value) == line


def test_a_backbone_is_for_a_detector():
    with pytest.raises(LimbeckError, match="mine: backbone is what a detector begins with: set task to detection"):
        plan({"data": {"source": "digits"}, "model": "resnet8", "backbone": {"run": "runs/mine"}}, "mine")


def test_a_backbone_is_the_network_that_is_named():
    other = recipe(model={"name": "faster_rcnn", "backbone": "resnet8"})
    with pytest.raises(LimbeckError) as error:
        plan(other, "mine")
    assert str(error.value) == (
        "stage 'detector': model.backbone is resnet8, and stage 'classifier' trains resnet20: name the same network "
        "and options"
    )


def test_a_pretrained_backbone_is_looked_at_without_its_weights():
    spec = ModelSpec("retinanet", {"backbone": {"name": "torchvision:resnet18", "pretrained": True}, "width": 8})
    assert untrained(spec) == ModelSpec("retinanet", {"backbone": {"name": "torchvision:resnet18"}, "width": 8})
    assert parameters(outline(spec, 3)) == parameters(outline(untrained(spec), 3))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"frozen": True}, True),
        ({}, False),
        ({"frozen": True, "backbone": {"name": "torchvision:resnet18", "pretrained": True}}, False),
    ],
)
def test_norms_that_have_learned_nothing_are_told(options, told):
    assert frozen_at_random(ModelSpec("faster_rcnn", {"backbone": "resnet8", **options})) is told
    assert not frozen_at_random(ModelSpec("resnet8"))
