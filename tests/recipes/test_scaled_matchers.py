"""Matchers in recipes: read, written, and shrunk with their recipe."""

import pytest

from limbeck.core.schedules import RampUp, Until
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul
from limbeck.recipes.read import plan

PAPER = {
    "data": {"source": "cifar10", "validation": 0},
    "model": "resnet20",
    "training": {"epochs": 200, "batch_size": 128},
    "stages": {"teacher": {"model": "resnet56"}, "student": {"teacher": {"stage": "teacher"}}},
}


def matchers(scale, *given):
    stages = {**PAPER["stages"], "student": {"teacher": {"stage": "teacher"}, "matchers": list(given)}}
    return plan({**PAPER, "scale": scale, "stages": stages}, "here").student.matchers


def until(epoch, value=0.5):
    return {"name": "until", "value": value, "epoch": epoch}


@pytest.mark.parametrize(("scale", "epochs"), [("paper", (80, 40)), ("small", (24, 12)), ("tiny", (2, 1))])
def test_schedules_of_matchers_keep_their_share(scale, epochs):
    ramp = {"name": "ramp_up", "value": 0.5, "epochs": 40}
    at, ie = matchers(
        scale,
        {"name": "at", "weight": until(80)},
        {"name": "ie", "matcher": {"name": "fitnet", "weight": until(80)}, "inherit": ramp, "explore": until(40, 2.0)},
    )
    assert at.weight == ie.matcher.weight == Until(0.5, epochs[0])
    assert (ie.inherit, ie.explore) == (RampUp(0.5, epochs[1]), Until(2.0, epochs[1]))


@pytest.mark.parametrize(("scale", "epochs"), [("paper", 30), ("small", 9), ("tiny", 1)])
def test_a_coder_learns_for_its_share(scale, epochs):
    ft = {"name": "ft", "coder_epochs": 30, "coder_lr": 0.05, "rate": 0.25}
    plain, wrapped = matchers(scale, ft, {"name": "ie", "matcher": ft, "ratio": 0.25})
    for matcher in (plain, wrapped.matcher):
        assert (matcher.coder_epochs, matcher.coder_lr, matcher.rate) == (epochs, 0.05, 0.25)
    assert wrapped.ratio == 0.25


@pytest.mark.parametrize("scale", ["small", "tiny"])
def test_layers_of_other_networks_are_found_anew_and_have_no_weights_of_their_own(scale):
    od = {"name": "od", "layers": ["layer1.2.add", "layer3.2.add"], "stages": [1.0, 2.0], "margin": "measured"}
    at, hint, whole, ie = matchers(
        scale,
        {"name": "at", "layers": ["layer1"], "teacher_layers": ["layer2"], "form": "sum"},
        {"name": "fitnet", "layer": "layer1", "teacher_layer": "layer2"},
        od,
        {"name": "ie", "matcher": od},
    )
    assert (at.layers, at.teacher_layers, at.form) == (None, None, "sum")
    assert (hint.layer, hint.teacher_layer) == (None, None)
    for matcher in (whole, ie.matcher):
        assert (matcher.layers, matcher.stages, matcher.margin) == (None, None, "measured")
    (paper,) = matchers("paper", od)
    assert (paper.layers, paper.stages) == (("layer1.2.add", "layer3.2.add"), (1.0, 2.0))


def test_matchers_are_written_as_they_are_read():
    given = ["at", {"name": "ft", "factors": 3}, {"name": "ie", "matcher": "od", "explore": until(5)}, "fitnet"]
    found = matchers("paper", *given)
    assert [type(one) for one in found] == [AttentionTransfer, FactorTransfer, InheritExplore, FitNet]
    assert isinstance(found[2].matcher, Overhaul)
    stages = {**PAPER["stages"], "student": {"teacher": {"stage": "teacher"}, "matchers": given}}
    written = plan({**PAPER, "stages": stages}, "here").plain("student")
    again = plan(written, "again").plain("student")
    assert again == written
    assert [one["name"] for one in written["stages"]["student"]["matchers"]] == ["at", "ft", "ie", "fitnet"]
    assert written["stages"]["student"]["matchers"][2]["matcher"]["name"] == "od"
