"""From YAML to a plan: what is merged with what."""

import pytest
import yaml

from limbeck.core.config import fields_of
from limbeck.errors import LimbeckError
from limbeck.recipes import read_recipe
from limbeck.recipes.parse import merged, parse
from limbeck.recipes.read import overridden, plan
from limbeck.targets import PSKD, CrossEntropy, Hinton
from limbeck.train.optimisers import SGD, AdamW

BASE = {"data": {"source": "digits"}, "model": {"name": "cnn", "width": 4}}


def test_numbers_are_numbers_and_words_are_words():
    text = "{a: 1e-3, b: 5e-4, c: 1., d: .5, e: 1, f: true, g: on, h: no, i: 2020-01-02, j: -2E+3, k: null, l: .inf}"
    assert parse(f"values: {text}", "here")["values"] == {
        "a": 1e-3, "b": 5e-4, "c": 1.0, "d": 0.5, "e": 1, "f": True, "g": "on", "h": "no", "i": "2020-01-02",
        "j": -2000.0, "k": None, "l": float("inf"),
    }  # fmt: skip


def test_a_stage_starts_from_the_recipes_own_fields():
    stages = {"teacher": {"model": {"width": 8}, "training": {"epochs": 7}}, "student": {"seed": 3}}
    found = plan({**BASE, "training": {"batch_size": 10}, "stages": stages}, "here")
    teacher, student = found.stages["teacher"], found.student
    assert (teacher.model.options, student.model.options) == ({"width": 8}, {"width": 4})
    assert (teacher.training.epochs, teacher.training.batch_size, student.training.epochs) == (7, 10, 30)
    assert (teacher.seed, student.seed) == (0, 3)
    assert found.student is found.stages["student"]


def test_another_class_replaces_the_old_fields_and_the_same_one_keeps_them():
    old = {"name": "kd", "alpha": 0.5, "temperature": 2.0}
    assert merged(old, {"alpha": 0.9}) == {"name": "kd", "alpha": 0.9, "temperature": 2.0}
    assert merged(old, {"name": "kd", "alpha": 0.9}) == {"name": "kd", "alpha": 0.9, "temperature": 2.0}
    assert merged(old, {"name": "pskd"}) == {"name": "pskd"}
    assert merged({"method": "kd"}, {"method": {"alpha": 0.9}}) == {"method": {"name": "kd", "alpha": 0.9}}
    assert merged({"views": ["flip"]}, {"views": []}) == {"views": []}
    assert old == {"name": "kd", "alpha": 0.5, "temperature": 2.0}


def test_overrides_are_read_as_yaml():
    tree = {"method": "pskd", "training": {"epochs": 3}}
    texts = ("training.epochs=5", "method.alpha=0.5", "optimiser={name: adamw, lr: 1e-3}", "data.mix=", "a=b=c")
    assert overridden(tree, texts) == {
        "method": {"name": "pskd", "alpha": 0.5}, "training": {"epochs": 5},
        "optimiser": {"name": "adamw", "lr": 1e-3}, "data": {"mix": None}, "a": "b=c",
    }  # fmt: skip
    assert tree == {"method": "pskd", "training": {"epochs": 3}}


def test_overrides_reach_every_stage_or_one():
    found = read_recipe("digits/kd", ["training.epochs=5", "stages.student.training.epochs=2", "seed=4"])
    assert [stage.training.epochs for stage in found.stages.values()] == [5, 2]
    assert {stage.seed for stage in found.stages.values()} == {4}
    assert isinstance(found.stages["teacher"].method, CrossEntropy)
    assert found.student.method == Hinton(0.9, 4.0)
    assert read_recipe("digits/baseline", ["stages.student.seed=2"]).student.seed == 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["teacher.cache=here"], "; write stages.student.teacher.cache=here for one stage alone"),
        (
            ["data.view_seed=0", "data.cycle=2", "teacher.cache=here", "teacher.cache_dtype=float16", "seed=3"],
            "; write stages.student.teacher.cache=here stages.student.teacher.cache_dtype=float16 for one stage alone",
        ),
        (["teacher.run=x"], "; write stages.student.teacher.run=x for one stage alone"),
        (["scale=tiny", "teacher.which=best"], "; write stages.student.teacher.which=best for one stage alone"),
        (
            ["stages.teacher.seed=1", "stages.student.seed=2", "seed=4"],
            "each stage sets seed itself, and the override changes nothing; write stages.teacher.seed=4 or "
            "stages.student.seed=4 for one stage alone",
        ),
    ],
)
def test_an_override_that_is_for_one_stage_is_told_its_key(overrides, expected):
    with pytest.raises(LimbeckError) as told:
        read_recipe("digits/kd", ["data.validation=200", *overrides])
    assert str(told.value).endswith(expected)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("override", ["training.epochs=0", "method.alpa=3", "model.wdth=3", "sed=1", "data.cycle=0"])
def test_a_mistake_in_an_override_is_no_stages(override):
    with pytest.raises(LimbeckError) as told:
        read_recipe("digits/kd", [override])
    assert "alone" not in str(told.value)


@pytest.mark.parametrize("override", ["model=resnet8", "method=kd", "method={alpha: 0.3}", "optimiser=adamw", "seed=0"])
def test_an_override_that_reaches_one_stage_or_says_what_is_so_is_taken(override):
    assert read_recipe("digits/kd", [override]).student


def test_defaults_are_those_of_the_classes():
    stage = plan(BASE, "here").student
    assert isinstance(stage.optimiser, SGD)
    assert isinstance(plan({**BASE, "optimiser": "adamw"}, "here").student.optimiser, AdamW)
    assert plan({**BASE, "method": "pskd"}, "here").student.method == PSKD()
    assert fields_of(stage)["training"]["epochs"] == 30


def test_a_recipe_of_ones_own_is_read_from_its_path(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(BASE))
    assert read_recipe(str(path)).student.model.name == "cnn"
    with pytest.raises(LimbeckError, match=r"mine\.yml: unknown key 'sed'; did you mean 'seed'\?"):
        read_recipe(str(path), ["sed=1"])
