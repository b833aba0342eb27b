"""What may be asked, and the recipe that it makes."""

import numpy as np
import pytest

from limbeck.advice.question import ask, at_length, base_of, seconds_of
from limbeck.core import LimbeckError
from limbeck.recipes.read import plan


def asked(data="digits", student="{name: cnn, width: 2}", teacher=None, budget="1m", **changes):
    wanted = {"epochs": 60, "seeds": 3, "by": "error", "methods": None, "overrides": []} | changes
    return ask(data, student, teacher, budget, **wanted)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1m1s", 61)]
)
def test_a_budget_is_a_time(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-3m", "half an hour", "0s", "3m2h", "nan", "1e9"])
def test_no_other_text_is_one(text):
    with pytest.raises(LimbeckError, match="write a time such as 90s"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "digitz"}, "--data 'digitz': no folder of that name is there, and no data source; did you mean"),
        ({"data": "{root: x}"}, "give it a name"),
        ({"student": "rsnet110"}, "--student: model 'rsnet110' is unknown; did you mean 'resnet110'?"),
        ({"student": "{width: 3}"}, "names no model"),
        ({"student": "{name: cnn, widht: 3}"}, "has no option 'widht'; did you mean 'width'?"),
        (
            {"teacher": "runs/none"},
            "--teacher runs/none: there is no finished run in such a folder, nor a model of such",
        ),
        ({"teacher": "resnet21"}, "timm:NAME); nor is it the folder of a run"),
        ({"by": "eror"}, "--by 'eror': there is no such figure; did you mean 'error'?"),
        ({"overrides": ["model.width=3"]}, "only data, optimiser, schedule, training are open"),
        ({"overrides": ["method=kd"]}, "only data, optimiser, schedule, training are open"),
        ({"overrides": ["seed=3"]}, "only data, optimiser, schedule, training are open"),
        ({"overrides": ["training.epochs=3"]}, "leave training.epochs out: give --epochs"),
        ({"overrides": ["training={epochs: 3}"]}, "leave training.epochs out: give --epochs"),
        ({"overrides": ["training.stop_epoch=3"]}, "leave training.stop_epoch out"),
        ({"overrides": ["data.evaluate=test"]}, "leave data.evaluate out"),
    ],
)
def test_a_wrong_question_is_one_line(changes, reason):
    with pytest.raises(LimbeckError) as found:
        asked(**changes)
    assert reason in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["data.validation=0"], "data.validation is 0"),
        (["data.validation=2000"], "can't hold 2000 of 1000"),
        (["data.source.rot=x"], "unknown key 'rot'"),
        (["optimiser.lr"], "write key=value"),
        (["data.classes=11"], "data.classes is 11"),
    ],
)
def test_data_that_cannot_be_split_so_are_refused(overrides, reason):
    with pytest.raises(LimbeckError, match=reason):
        base_of(asked(overrides=overrides))


def test_a_figure_that_is_zero_for_all_decides_nothing():
    with pytest.raises(LimbeckError, match="it is 0 for all among 3 classes"):
        base_of(asked(by="top5_error", overrides=["data.classes=3"]))


def test_what_is_not_told_suits_the_data():
    base = base_of(asked())
    stage = plan(base.recipe, "t").student
    assert (stage.data.validation, stage.training.batch_size, stage.training.epochs) == (300, 32, 60)
    assert (base.splits.train.count, base.splits.validation.count, base.tested) == (700, 300, 797)
    assert base.splits.test is base.splits.validation
    told = base_of(asked(overrides=["data.validation=100", "training.batch_size=50", "data.classes=3"]))
    stage = plan(told.recipe, "t").student
    assert (stage.data.validation, stage.training.batch_size) == (100, 50)
    assert len(np.unique(told.splits.train.labels)) == 3


def test_a_rung_has_a_complete_schedule_and_leaves_the_test_set_alone():
    recipe = base_of(asked(overrides=["schedule={name: multi_step, milestones: [30, 45], warmup: 2}"])).recipe
    short = plan(at_length(recipe, 10, "validation"), "t").student
    assert short.training.epochs == 10
    assert list(short.schedule.milestones) == [0.5, 0.75]
    assert short.schedule.warmup == pytest.approx(1 / 3)
    assert short.data.evaluate == "validation"
    full = plan(at_length(recipe, 60, "test"), "t").student
    assert full == plan(recipe, "t").student


def test_the_name_of_the_answer_can_name_a_folder(tmp_path):
    (tmp_path / "my photos").mkdir()
    assert (
        asked(str(tmp_path / "my photos"), "torchvision:resnet18", "cnn").name == "my-photos-torchvision-resnet18-cnn"
    )
    assert asked().name == "digits-cnn"
    assert asked().title == "How to train cnn (width 2) on digits"
