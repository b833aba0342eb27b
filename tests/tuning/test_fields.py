"""Which fields are searched."""

import dataclasses
from collections.abc import Mapping

import pytest

from limbeck.core import LimbeckError
from limbeck.core.config import fields_of
from limbeck.matching import MATCHERS
from limbeck.matching.attention import AttentionTransfer
from limbeck.matching.ie import InheritExplore
from limbeck.targets import METHODS
from limbeck.tuning.fields import default_space, with_values

# Numbers of a method that a search leaves as they are, and why.
LEFT = {
    "multiplier": "of a term whose weight alpha is already",
    "correct": "what the virtual teacher says before its temperature, which is searched",
    "branches": "another network",
    "window": "a memory of other size", "top_k": "likewise", "average": "another kind of memory",
    "rate": "another coder", "factors": "likewise", "coder_epochs": "another stage before",
    "coder_lr": "likewise",
    "coder_nesterov": "likewise", "coder_error": "likewise",
    "ratio": "another split of the channels", "split_seed": "a seed",
}  # fmt: skip


def number(value):
    value = value.get("value", value.get("final")) if isinstance(value, Mapping) else value
    return isinstance(value, int | float) and not isinstance(value, bool)


def space(method, matchers=()):
    return default_space({"method": method, "matchers": list(matchers)})


def plain(cls, table, **fields):
    return {"name": {own: name for name, own in table.items()}[cls], **fields_of(cls(**fields))}


def matcher(cls):
    return plain(cls, MATCHERS, **({"matcher": AttentionTransfer()} if cls is InheritExplore else {}))


@pytest.mark.parametrize("cls", [*METHODS.values(), *MATCHERS.values()], ids=lambda cls: cls.__name__)
def test_every_number_of_a_method_is_searched_or_left_for_a_reason(cls):
    own = plain(cls, METHODS) if cls in METHODS.values() else matcher(cls)
    place = "method" if cls in METHODS.values() else "matchers.0"
    found = space(own) if place == "method" else space({"name": "cross_entropy"}, [own])
    for name in (field.name for field in dataclasses.fields(cls) if number(own[field.name])):
        searched = [
            key for key in found if key in {f"{place}.{name}", f"{place}.{name}.value", f"{place}.{name}.final"}
        ]
        assert len(searched) == (name not in LEFT), f"{name} of {cls.__name__}: search it, or say why not"


def test_the_recipes_own_value_is_in_its_range():
    assert str(space(plain(METHODS["kd"], METHODS, alpha=0.99, temperature=40.0))["method.temperature"]) == "1..40:log"
    assert str(space(plain(METHODS["kd"], METHODS, alpha=0.99))["method.alpha"]) == "0.05..0.99"
    assert str(space(plain(METHODS["pskd"], METHODS, alpha=0.0))["method.alpha"]) == "0..0.95"
    assert space(plain(METHODS["cross_entropy"], METHODS)) == {}


def test_weights_are_searched_around_their_own_value():
    found = space(
        {"name": "cross_entropy"}, [matcher(MATCHERS["at"]), matcher(MATCHERS["od"]), matcher(MATCHERS["ie"])]
    )
    assert {key: str(axis) for key, axis in found.items()} == {
        "matchers.0.weight": "100..10000:log",
        "matchers.1.weight": "0.0001..0.01:log",
        "matchers.2.inherit": "0.1..10:log",
        "matchers.2.explore": "0.1..10:log",
    }
    # a term that is off stays off
    assert space(plain(METHODS["cskd"], METHODS, weight=0.0)).keys() == {"method.temperature"}


def test_of_a_schedule_its_value_is_searched():
    ramped = space(plain(METHODS["one"], METHODS))
    assert str(ramped["method.weight.value"]) == "0.1..10:log"
    linear = plain(METHODS["kd"], METHODS) | {"alpha": {"name": "linear", "final": 0.8}}
    assert str(space(linear)["method.alpha.final"]) == "0.05..0.95"


def test_values_go_into_the_last_stage_alone():
    stage = {"method": {"name": "kd", "alpha": 0.5}, "matchers": [{"name": "at", "weight": 1.0}]}
    tree = {"stages": {"teacher": stage, "student": stage}}
    found = with_values(tree, {"method.alpha": 0.1, "matchers.0.weight": 2.0})
    assert found["stages"]["student"]["method"]["alpha"] == 0.1
    assert found["stages"]["student"]["matchers"][0]["weight"] == 2.0
    assert tree["stages"]["teacher"] == stage
    assert stage["method"]["alpha"] == 0.5


def test_ranges_of_whole_numbers_stay_whole(prepared):
    found = prepared("smooth", "training.batch_size=8..32:log", "optimiser.lr=0.1..1", "training.ema=0..1")
    (search,) = found.searches
    kinds = {key: axis.whole for key, axis in search.space.items()}
    assert kinds == {
        "method.epsilon": False, "training.batch_size": True, "optimiser.lr": False, "training.ema": False,
    }  # fmt: skip


def test_a_given_range_takes_the_place_of_the_default_and_a_given_value_takes_a_field_out(prepared):
    def asked(*settings, row="kd"):
        return {key: str(axis) for key, axis in prepared(row, *settings).searches[0].space.items()}

    assert asked("method.alpha=0.2..0.4") == {"method.temperature": "1..20:log", "method.alpha": "0.2..0.4"}
    assert asked("stages.student.method.alpha=0.2..0.4", "method.temperature=3") == {"method.alpha": "0.2..0.4"}
    # as a schedule the same field is another number
    assert asked("method.alpha={name: linear, final: 0.7}") == {"method.temperature": "1..20:log"}
    assert asked("stages.teacher.optimiser.lr=0.2") == {
        "method.alpha": "0.05..0.95", "method.temperature": "1..20:log",
    }  # fmt: skip
    assert asked(row="at") == {"matchers.0.weight": "100..10000:log"}


def test_a_field_is_searched_in_the_recipes_that_have_it(prepared):
    found = prepared("kd smooth baseline", "method.alpha=0.2..0.4", "optimiser.lr=0.01..0.3:log")
    assert [list(search.space) for search in found.searches] == [
        ["method.temperature", "method.alpha", "optimiser.lr"], ["method.epsilon", "optimiser.lr"], ["optimiser.lr"],
    ]  # fmt: skip


def test_a_recipe_can_have_its_space_written_down(prepared, table, tmp_path):
    text = (tmp_path / "t.yaml").read_text()
    own = "\n  own: {method: kdcl, peers: [{name: cnn, width: 2}], tune: {method: {ensemble: 'naive,linear', "
    own += "weight: 1.0}, optimiser.lr: 0.01..1:log}}\n"
    (tmp_path / "t.yaml").write_text(text + own)
    (search,) = prepared("own").searches
    assert {key: str(axis) for key, axis in search.space.items()} == {
        "method.temperature": "1..20:log", "method.ensemble": "naive,linear", "method.weight": "1",
        "optimiser.lr": "0.01..1:log",
    }  # fmt: skip
    (search,) = prepared("own", "optimiser.lr=0.1", "method.weight=0.1..10:log").searches
    assert {key: str(axis) for key, axis in search.space.items()} == {
        "method.temperature": "1..20:log", "method.ensemble": "naive,linear", "method.weight": "0.1..10:log",
    }  # fmt: skip
    (tmp_path / "t.yaml").write_text(text + own.replace("ensemble:", "ensembel:"))
    with pytest.raises(LimbeckError, match="t.yaml/own: tune: method.ensembel: naive,linear: there is no field"):
        prepared("own")
    (tmp_path / "t.yaml").write_text(text + "\n  own: {method: pskd, tune: [method.alpha]}\n")
    with pytest.raises(LimbeckError, match="t.yaml/own: tune is a mapping of fields to ranges"):
        prepared("own")
