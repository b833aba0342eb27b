"""A recipe's reference on its way to the run, with what was changed."""

import pytest
import yaml

from limbeck.recipes.read import plan
from limbeck.recipes.reference import changed_reference
from limbeck.studies.cells import expand
from limbeck.studies.study import read_study
from limbeck.train.job import effective
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

RECIPE = {
    "reference": {"source": "a paper", "error": 4.2},
    "data": {"source": "digits", "examples": 60, "validation": 100},
    "model": {"name": "cnn", "width": 2},
    "training": {"epochs": 1, "batch_size": 30},
}


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ([], None),
        (["seed=3", "data.source.root=/x", "training.trace=true", "data.workers=0"], None),
        (["training.epochs=4", "seed=1"], ["training.epochs=4"]),
        (["scale=tiny"], ["scale=tiny"]),
        (["reference.error=5"], None),
    ],
)
def test_what_was_changed_stands_in_the_reference(overrides, changed):
    tree = RECIPE | {"data": {"source": {"name": "mnist"}, "validation": 100}}
    reference = plan(tree, "r", overrides).reference
    assert reference["source"] == "a paper"
    assert reference["error"] == (5 if "reference.error=5" in overrides else 4.2)
    assert reference.get("changed") == changed


@pytest.mark.parametrize("reference", [None, "a table", 3])
def test_a_recipe_without_numbers_has_none(reference):
    assert plan(RECIPE | {"reference": reference}, "r").reference is None


def test_a_run_keeps_its_reference_and_is_the_same_run_without(tmp_path):
    runtime = Runtime("cpu", devices=1, nodes=1)
    with Display(silent=True) as display:
        plan(RECIPE, "r", ["training.epochs=2"]).run(tmp_path / "run", runtime, display)
        written = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
        assert written["reference"] == {"source": "a paper", "error": 4.2, "changed": ["training.epochs=2"]}
        again = plan(written, "recipe.yaml")
        assert again.reference == written["reference"]
        bare = {key: value for key, value in written.items() if key != "reference"}
        assert effective(written) == effective(bare)
        plan(bare, "bare").run(tmp_path / "run", runtime, display)  # found finished, and not refused


def test_of_several_stages_only_the_last_has_it():
    stages = {"teacher": {"method": "cross_entropy"}, "student": {"method": "kd", "teacher": {"stage": "teacher"}}}
    found = plan(RECIPE | {"stages": stages}, "r")
    assert "reference" not in found.plain("teacher")
    assert found.plain("student")["reference"] == RECIPE["reference"]


def test_cells_and_axes_say_what_they_change(tmp_path):
    study = {
        "recipe": RECIPE,
        "cells": {
            "a": {},
            "b": {"method": "pskd"},
            "c": {"method": "tfkd_reg", "reference": {"source": "c's", "nll": 1}},
        },
        "axes": {"batch": {"field": "training.batch_size", "values": [10, 20]}},
        "seeds": 1,
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
    cells = expand(read_study(str(tmp_path / "s.yaml")).study, "s.yaml")
    found = {cell.name: cell.plans[0].reference for cell in cells}
    assert found["a,batch=10"]["changed"] == ["training.batch_size=10"]
    assert found["b,batch=20"]["changed"] == ["method=pskd", "training.batch_size=20"]
    assert found["c,batch=10"] == {"source": "c's", "nll": 1, "changed": ["training.batch_size=10"]}


def test_changes_without_a_reference_stay_without():
    assert changed_reference({"method": "pskd"}, {"method": "pskd"}) == {"method": "pskd"}
