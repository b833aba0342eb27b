"""The scale of a recipe: what shrinks, what stays, and that overrides have the last word."""

import pytest
import torch
from PIL import Image

from limbeck.core import Batch, Clock, Step, Units
from limbeck.core.config import fields_of
from limbeck.core.schedules import RampUp, Until
from limbeck.data.views import Cutout, Flip, PadCrop
from limbeck.errors import LimbeckError
from limbeck.recipes.read import plan
from limbeck.recipes.scale import SCALES
from limbeck.recipes.shorter import shortened

PAPER = {
    "data": {"source": "cifar100", "validation": 0, "views": ["pad_crop", "flip", {"name": "cutout", "length": 8}]},
    "model": "resnet20",
    "method": {"name": "kd", "alpha": 0.5},
    "optimiser": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "multi_step", "milestones": [60, 120, 0.8, 250], "warmup": 5},
    "training": {"epochs": 200, "batch_size": 128},
    "stages": {
        "teacher": {"model": "resnet56", "method": "cross_entropy", "training": {"stop_epoch": 51}},
        "student": {"teacher": {"stage": "teacher"}},
    },
}


def scaled(scale, overrides=(), **changes):
    return plan({**PAPER, "scale": scale, **changes}, "here", overrides)


def alone(scale, overrides=(), **changes):
    """One stage without a teacher."""
    tree = {key: value for key, value in PAPER.items() if key not in {"method", "stages"}}
    return plan({**tree, "scale": scale, **changes}, "here", overrides).student


def width(stage):
    assert stage.model.name == "cnn"
    return stage.model.options["width"]


def test_paper_changes_nothing():
    assert scaled("paper") == plan(PAPER, "here")


def test_tiny_shrinks_every_stage_alike():
    for stage in scaled("tiny").stages.values():
        assert (stage.data.examples, stage.data.validation) == (300, 0)
        assert stage.data.views == (PadCrop(), Flip(), Cutout(8))
        assert (stage.training.epochs, stage.training.batch_size) == (4, 32)
        assert (stage.optimiser.lr, stage.seed) == (0.05, 0)


def test_small_always_holds_examples_out_and_keeps_two_views_only():
    for stage in scaled("small").stages.values():
        assert (stage.data.examples, stage.data.validation, stage.data.classes) == (1000, 500, 20)
        assert stage.data.views == (Flip(), Cutout(8))
        assert (stage.training.epochs, stage.training.batch_size) == (60, 64)


def test_tiny_holds_examples_out_where_the_recipe_does():
    assert alone("tiny", data={"source": "cifar10"}).data.validation == 100
    assert alone("tiny", data={"source": "cifar10", "validation": 0}).data.validation == 0


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_a_larger_teacher_stays_larger_a_smaller_one_smaller_and_the_same_one_the_same(scale):
    first, second, third, _ = SCALES[scale].ladder
    stages_of = lambda teacher, student, **more: scaled(  # noqa: E731
        scale, stages={"teacher": {"model": teacher, "method": "cross_entropy"},
                       "student": {"model": student, "teacher": {"stage": "teacher"}}}, **more,
    ).stages  # fmt: skip
    found = lambda *networks, **more: [stage.model for stage in stages_of(*networks, **more).values()]  # noqa: E731
    assert found("resnet56", "resnet20") == [second, first]
    assert found("resnet20", "resnet56") == [first, second]
    assert found("resnet56", "resnet56") == [first, first]
    assert found({"name": "resnet20", "shortcut": "conv"}, "resnet20") == [second, first]
    assert found("resnet56", "resnet20", networks=["resnet18"]) == [second, first]
    assert found("resnet56", "resnet20", networks=["resnet18", "resnet20"]) == [second, first]
    assert found("resnet18", "resnet20", networks=["resnet56"]) == [third, first]


def test_a_network_below_its_rung_stays_as_it_is():
    stages = {"teacher": {"model": "resnet56", "method": "cross_entropy"}, "student": {"teacher": {"stage": "teacher"}}}
    found = scaled("tiny", model={"name": "cnn", "width": 3}, stages=stages)
    assert [width(stage) for stage in found.stages.values()] == [8, 3]


def test_what_is_smaller_stays_as_it_is():
    data = {"source": "cifar10", "validation": 0.2, "examples": 200}
    stage = alone("small", data=data, training={"epochs": 10, "batch_size": 16})
    assert (stage.data.examples, stage.training.epochs, stage.training.batch_size) == (200, 10, 16)
    assert stage.schedule.milestones == (60, 120, 0.8, 250)
    assert alone("small", data=data | {"examples": 40}, training={"batch_size": 64}).training.batch_size == 40


@pytest.mark.parametrize(("scale", "share"), [("tiny", 4 / 200), ("small", 60 / 200)])
def test_what_is_counted_in_epochs_keeps_its_share(scale, share):
    for stage in scaled(scale).stages.values():
        assert stage.schedule.milestones == (0.3, 0.6, 0.8, 250 * share)
        assert stage.schedule.warmup == pytest.approx(5 * share)
        end = stage.schedule.factor(stage.training.epochs - 0.01, stage.training.epochs)
        assert end > 0.9e-3, "the milestone after the end is never reached"
    stages = scaled(scale).stages
    assert stages["teacher"].training.stop_epoch == max(1, round(51 * share))
    assert stages["student"].training.stop_epoch is None
    assert alone(scale, schedule={"name": "step", "every": 50}).schedule.every == max(1, round(50 * share))
    assert alone(scale, data=PAPER["data"] | {"cycle": 100}).data.cycle == max(1, round(100 * share))
    assert alone(scale).data.cycle is None


@pytest.mark.parametrize(("scale", "epochs"), [("tiny", (1, 2)), ("small", (1, 24))])
def test_a_schedule_in_a_methods_field_keeps_its_share(scale, epochs):
    def until(epoch):
        return {"name": "kd", "alpha": {"name": "until", "value": 0.5, "epoch": epoch}}

    assert scaled(scale, method=until(2)).student.method.alpha == Until(0.5, epochs[0])
    assert scaled(scale, method=until(0)).student.method.alpha == Until(0.5, 0)
    assert scaled(scale, method=until(80)).student.method.alpha == Until(0.5, epochs[1])
    ramp = {"name": "kd", "alpha": {"name": "ramp_up", "value": 0.5, "epochs": 80}}
    assert scaled(scale, method=ramp).student.method.alpha == RampUp(0.5, epochs[1])


@pytest.mark.parametrize(
    ("method", "weight"),
    [
        ({"name": "kd", "alpha": 0.95, "reduction": "mean"}, 0.95 / 100),
        ({"name": "tfkd_self", "alpha": 0.9, "reading": "code", "multiplier": 50.0}, 0.45),
        ({"name": "tfkd_reg", "alpha": 0.1, "reading": "code", "multiplier": 100.0}, 0.1),
        ({"name": "kd", "alpha": 0.95}, 0.95),
        ({"name": "tfkd_reg", "alpha": 0.1}, 0.1),
    ],
)
@pytest.mark.parametrize(("scale", "classes"), [("tiny", 10), ("small", 20), ("paper", 100)])
def test_the_weights_of_a_loss_that_averages_over_classes_stay(method, weight, scale, classes):
    """Fewer classes would make the teacher's term larger: the multiplier makes up for it."""
    stages = {"teacher": {"model": "resnet20", "method": "cross_entropy"}, "student": {"teacher": {"stage": "teacher"}}}
    stages = {"student": {}} if method["name"] == "tfkd_reg" else stages
    found = scaled(scale, method=method, stages=stages).student
    logits = torch.zeros(2, classes)
    units = Units(logits, torch.zeros(2, dtype=torch.long), torch.arange(2))
    step = Step(Batch(units.ids, (), units.labels), Clock(0, 1), [units], [units])
    label, teacher = found.method.write(step)[0]
    assert label.weight == pytest.approx(1 - method["alpha"])
    assert teacher.weight == pytest.approx(weight)


def test_few_examples_are_shared_out():
    digits = {"source": "digits", "validation": 200}
    assert alone("small", data=digits | {"examples": 300}).data.examples == 300
    stage = alone("small", data=digits)
    assert (stage.data.examples, stage.data.validation) == (750, 250)
    assert [len(split.ids) for split in stage.data.load("cpu")[:2]] == [750, 250]


def test_some_classes_have_their_share_of_the_examples():
    stage = alone("small", data={"source": "cifar100", "classes": 4})
    assert (stage.data.examples, stage.data.validation, stage.data.classes) == (1000, 450, 4)
    stage = alone("small", data={"source": "cifar100", "classes": 2})
    assert (stage.data.examples, stage.data.validation, stage.data.classes) == (675, 225, 2)
    few = alone("small", data={"source": "digits", "classes": 3})
    assert set(few.data.load("cpu").train.labels) == {0, 1, 2}


def folder(place, classes, images):
    for part in ("train", "val"):
        for label in range(classes):
            (place / part / f"{label:03}").mkdir(parents=True)
            for number in range(images):
                Image.new("RGB", (8, 8), (label, number, 0)).save(place / part / f"{label:03}/{number}.png")
    return {"source": {"name": "image_folder", "root": str(place)}, "workers": 0}


@pytest.mark.parametrize("scale", ["tiny", "small"])
@pytest.mark.parametrize(("classes", "images"), [(2, 20), (110, 8), (320, 5)])
def test_a_folder_of_images_is_counted(tmp_path, scale, classes, images):
    stage = alone(scale, data=folder(tmp_path, classes, images), training={"batch_size": 4})
    train, validation, *_ = stage.data.load("cpu")
    kept = min(classes, SCALES[scale].classes)
    assert set(train.labels) == set(validation.labels) == set(range(kept))
    assert len(validation.ids) <= kept * images // 4


def test_images_that_a_source_resizes_become_small():
    data = {
        "source": {"name": "image_folder", "root": "nowhere"},
        "views": [{"name": "random_resized_crop", "size": 224}],
    }
    stage = alone("tiny", data=data)
    assert (stage.data.source.size, stage.data.views[0].size) == (32, 32)
    assert (stage.data.examples, stage.data.validation) == (300, 100)
    stage = alone("small", data=data)
    assert (stage.data.source.size, stage.data.views) == (64, ())
    few = {"source": {"name": "image_folder", "root": "nowhere", "size": 24}}
    assert alone("small", data=few).data.source.size == 24
    assert [view.size for view in alone("tiny", data=few).data.views if view.name == "random_resized_crop"] == [24]


def test_overrides_have_the_last_word():
    found = scaled("tiny", ["training.epochs=200", "data.examples=50", "data.validation=20", "schedule.warmup=0"])
    for stage in found.stages.values():
        assert (stage.training.epochs, stage.data.examples, stage.data.validation) == (200, 50, 20)
        assert (stage.schedule.warmup, stage.schedule.milestones[:3]) == (0, (0.3, 0.6, 0.8))
    assert scaled("paper", ["scale=tiny"]) == scaled("tiny")
    assert scaled("tiny", ["scale=paper"]) == plan(PAPER, "here")
    assert (
        scaled("tiny", ["scale=small", "stages.teacher.training.stop_epoch=9"]).stages["teacher"].training.stop_epoch
        == 9
    )
    literal = scaled(
        "small", ["schedule.milestones=[3, 5]", "method.alpha={name: until, value: 0.5, epoch: 30}"]
    ).student
    assert (literal.schedule.milestones, literal.method.alpha) == ((3, 5), Until(0.5, 30))
    assert scaled("small", ["data.views=[pad_crop]"]).student.data.views == (PadCrop(),)


def test_an_override_reaches_the_stages_that_do_not_set_the_same():
    found = scaled(
        "tiny", ["model=resnet8", "training.stop_epoch=3", "method.alpha=0.2", "stages.student.seed=7"]
    ).stages
    assert [width(found["teacher"]), found["student"].model.name] == [8, "resnet8"]
    assert [stage.training.stop_epoch for stage in found.values()] == [1, 3]
    assert (found["teacher"].method.__class__.__name__, found["student"].method.alpha) == ("CrossEntropy", 0.2)
    assert [stage.seed for stage in found.values()] == [0, 7]
    cnn = {"name": "cnn", "width": 8}
    wide = {
        "teacher": {"model": {"width": 40}, "method": "cross_entropy"},
        "student": {"teacher": {"stage": "teacher"}},
    }
    found = scaled("tiny", ["model.norm=none"], model=cnn, stages=wide).stages
    assert [stage.model.options for stage in found.values()] == [
        {"width": 8, "norm": "none"}, {"width": 4, "norm": "none"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "overrides", [["method=cskd"], ["optimiser=adamw", "seed=3"], ["data.mix=mixup"], ["training.ema=0.9"]]
)
def test_other_overrides_do_what_they_do_without_a_scale(overrides):
    stages = {"student": {}}
    plain = plan({**PAPER, "method": "cross_entropy", "stages": stages}, "here", overrides).student
    small = scaled("small", overrides, method="cross_entropy", stages=stages).student
    for name in ("method", "optimiser", "seed"):
        assert getattr(small, name) == getattr(plain, name)
    assert (small.data.mix, small.training.ema) == (plain.data.mix, plain.training.ema)


def test_a_resolved_recipe_holds_the_scaled_fields_and_no_scale():
    found = scaled("small")
    written = found.plain("student")
    assert list(written) == ["stages"]
    assert written["stages"]["student"] == fields_of(found.student)
    assert "scale" not in written["stages"]["student"]
    assert plan(written, "again") == found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scale": "medium"}, r"here: scale 'medium' is unknown; there are: paper, small, tiny"),
        ({"scale": "smal"}, r"here: scale 'smal' is unknown; did you mean 'small'\?"),
        ({"scale": None}, r"here: scale None is unknown"),
        (
            {"networks": ["resnet18", "resnet34", "resnet50"]},
            r"here: scale small has 4 sizes of network, the recipe 5: use fewer networks, or leave the scale out",
        ),
        (
            {"model": {"name": "torchvision:resnet18", "pretrained": True}},
            r"here: scale small cannot shrink the pretrained 'torchvision:resnet18': leave pretrained out",
        ),
        (
            {"stages": {"student": {"teacher": {"run": "runs/big"}}}},
            r"here: scale small cannot shrink a teacher that is not a stage of the recipe: train it as a stage",
        ),
        (
            {"stages": {"student": {"teacher": {"weights": "big.pt", "model": "resnet56"}}}},
            r"here: scale small cannot shrink a teacher that is not a stage",
        ),
        (
            {"stages": {"student": {"teacher": {"model": {"name": "torchvision:resnet18", "pretrained": True}}}}},
            r"here: scale small cannot shrink a teacher that is not a stage",
        ),
        ({"stages": {"student": {"scale": "tiny"}}}, r"unknown key 'scale'"),
    ],
)  # fmt: skip
def test_what_cannot_be_scaled_is_one_line(changes, reason):
    with pytest.raises(LimbeckError, match=reason) as error:
        scaled(**{"scale": "small", **changes})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override", ["training.epochs=ten", "model=resnet21", "method.alpha=2", "stages.nobody.seed=1", "trainin.epochs=3"]
)
def test_mistakes_are_found_as_without_a_scale(override):
    with pytest.raises(LimbeckError) as plain:
        scaled("paper", [override])
    with pytest.raises(LimbeckError) as small:
        scaled("small", [override])
    assert str(small.value) == str(plain.value)


def test_a_stage_is_shortened_with_all_that_is_counted_in_epochs():
    stage = plan(
        {
            "data": {"source": "digits", "cycle": 8},
            "model": "cnn",
            "schedule": {"name": "multi_step", "milestones": [20, 0.75], "warmup": 2},
            "training": {"epochs": 40, "keep_epochs": [1, 20, 40]},
        },
        "t",
    ).student
    before = fields_of(stage)
    short = shortened(before, 10)
    assert short["training"]["epochs"] == 10
    assert short["training"]["keep_epochs"] == [1, 5, 10]
    assert short["schedule"]["milestones"] == [0.5, 0.75]
    assert short["schedule"]["warmup"] == 0.5
    assert short["data"]["cycle"] == 2
    assert before == fields_of(stage) == shortened(before, 40)
