"""Names and options: what is built, and what is refused with which words."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.models import MODELS, ModelSpec, build_model, check_model, list_models, parameters
from limbeck.models.resnet import ResNet
from limbeck.models.wide_resnet import WideResNet

Options = dict[str, bool | int | float | str]


def test_every_listed_model_is_built() -> None:
    assert list_models() == sorted(MODELS)
    with torch.device("meta"):
        for name in list_models():
            network = build_model(ModelSpec(name), classes=10, channels=1)
            assert network(torch.empty(2, 1, 28, 28)).shape == (2, 10)


def test_options_reach_the_network() -> None:
    network = build_model(ModelSpec("resnet8", {"shortcut": "conv", "width": 2}), classes=4, channels=1)
    assert isinstance(network, ResNet)
    assert network.head.in_features == 128
    assert isinstance(network.layer2[0].shortcut, nn.Sequential)


def test_wide_names_are_read() -> None:
    network = build_model(ModelSpec("wrn_10_3", {"dropout": 0.25}), classes=4, channels=1)
    assert isinstance(network, WideResNet)
    assert network.head.in_features == 192
    assert network.layer1[0].dropout.p == 0.25


def test_parameters_counts_what_is_trained() -> None:
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert parameters(network) == 6


def test_the_specification_is_strict() -> None:
    assert ModelSpec("cnn").options == {}
    assert type(ModelSpec("cnn", {"width": 4}).options["width"]) is int
    assert ModelSpec("cnn", {"width": True}).options["width"] is True
    with pytest.raises(ValidationError):
        ModelSpec("cnn", {"width": [4]})  # type: ignore[dict-item]
    with pytest.raises(ValidationError):
        ModelSpec(3)  # type: ignore[arg-type]


THERE = "(other libraries' are torchvision:NAME and timm:NAME)"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet_20", {}, f"model 'resnet_20' is unknown; did you mean 'resnet20'? {THERE}"),
        ("wrn_16", {}, f"model 'wrn_16' is unknown; did you mean 'wrn_16_4'? {THERE}"),
        ("tim:resnet18", {}, "model 'tim:resnet18' is unknown; did you mean 'timm:resnet18'?"),
        ("wrn_17_2", {}, "model 'wrn_17_2', depth=17: should be 6n + 4 (10, 16, 22, 28, ...)"),
        ("wrn_4_2", {}, "model 'wrn_4_2', depth=4: should be 6n + 4 (10, 16, 22, 28, ...)"),
        ("wrn_16_0", {}, "model 'wrn_16_0', widen=0: must be greater than or equal to 1"),
        (
            "resnet20",
            {"shortcuts": "pad"},
            "model 'resnet20' has no option 'shortcuts'; did you mean 'shortcut'?",
        ),
        ("resnet20", {"qqqq": 1}, "model 'resnet20' has no option 'qqqq'; there are: shortcut, width"),
        ("preact_resnet18", {"width": 2}, "model 'preact_resnet18' has no option 'width'; it takes none"),
        (
            "resnet20",
            {"shortcut": "cnv"},
            "model 'resnet20', shortcut='cnv': must be 'pad' or 'conv'",
        ),
        ("resnet20", {"width": 2.0}, "model 'resnet20', width=2.0: must be a valid integer"),
        ("resnet20", {"width": True}, "model 'resnet20', width=True: must be a valid integer"),
        ("cnn", {"width": "8"}, "model 'cnn', width='8': must be a valid integer"),
        ("wrn_16_2", {"dropout": 1.5}, "model 'wrn_16_2', dropout=1.5: must be less than 1"),
        ("wrn_16_2", {"dropout": float("nan")}, "model 'wrn_16_2', dropout=nan: must be less than 1"),
    ],
)
def test_mistakes_are_answered_in_one_line(name: str, options: Options, message: str) -> None:
    for attempt in (build_model, check_model):
        with pytest.raises(LimbeckError) as caught:
            attempt(ModelSpec(name, options), 10, 3)
        assert str(caught.value) == message


def test_an_unknown_name_unlike_any_lists_them_all() -> None:
    with pytest.raises(LimbeckError, match=r"there are: cnn, densenet121, faster_rcnn, .*wrn_40_4") as caught:
        check_model(ModelSpec("zzz"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["depth", "classes", "channels"])
def test_what_the_name_or_the_data_decide_is_no_option(option: str) -> None:
    with pytest.raises(LimbeckError, match=f"'resnet20' has no option '{option}'"):
        check_model(ModelSpec("resnet20", {option: 14}))


@pytest.mark.parametrize(("classes", "channels", "named"), [(0, 3, "classes=0"), (10, 0, "channels=0")])
def test_classes_and_channels_are_positive(classes: int, channels: int, named: str) -> None:
    with pytest.raises(LimbeckError, match=named):
        build_model(ModelSpec("cnn"), classes, channels)


def test_checking_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("a layer was made")

    monkeypatch.setattr(nn.Module, "__init__", refuse)
    for name in list_models():
        check_model(ModelSpec(name))
