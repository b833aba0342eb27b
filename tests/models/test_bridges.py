"""torchvision's and timm's networks by name, without a network connection."""

from __future__ import annotations

import importlib
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model, check_model

WITHOUT_TIMM = "timm is not installed (pip install 'limbeck[timm]')"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder where torch looks for downloaded weights, and cut the connection."""

    def offline(*given: object, **options: object) -> None:
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def provide(hub: Path, name: str) -> nn.Module:
    """Put a network's fresh weights where its pretrained ones are looked for, and return it."""
    torch.manual_seed(5)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    network: nn.Module = torchvision.models.get_model(name, weights=None)
    torch.save(network.state_dict(), hub / weights.url.rpartition("/")[2])
    return network.eval()


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_resnet18_fits_classes_and_channels(library: str) -> None:
    if library == "timm":
        pytest.importorskip("timm", reason=WITHOUT_TIMM)
    network = build_model(ModelSpec(f"{library}:resnet18"), classes=10, channels=1)
    logits = network(torch.randn(2, 1, 32, 32))
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert not any(getattr(layer, "inplace", False) for layer in network.modules())


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_5"])
def test_first_and_last_layers_of_other_families(name: str) -> None:
    with torch.device("meta"):
        network = build_model(ModelSpec(f"torchvision:{name}"), classes=7, channels=2)
        assert network(torch.empty(2, 2, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_no_auxiliary_heads(name: str) -> None:
    with torch.device("meta"):
        network = build_model(ModelSpec(f"torchvision:{name}"), classes=7, channels=1)
        assert network(torch.empty(2, 1, 96, 96)).shape == (2, 7)


def test_the_same_seed_gives_the_same_bridge() -> None:
    first, second = (
        (torch.manual_seed(3), build_model(ModelSpec("torchvision:squeezenet1_1"), 4, 1))[1] for _ in range(2)
    )
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_pretrained_body_with_a_new_head(hub: Path, name: str) -> None:
    known = provide(hub, name)
    network = build_model(ModelSpec(f"torchvision:{name}", {"pretrained": True}), classes=6, channels=3).eval()
    x = torch.randn(2, 3, 32, 32)
    assert network(x).shape == (2, 6)
    was, now = known.state_dict(), network.state_dict()
    changed = {path for path in was if was[path].shape != now[path].shape or not torch.equal(was[path], now[path])}
    assert changed == (
        {"classifier.1.weight", "classifier.1.bias"} if name == "squeezenet1_1" else {"fc.weight", "fc.bias"}
    )


def test_pretrained_head_is_kept_for_its_own_classes(hub: Path) -> None:
    known = provide(hub, "squeezenet1_1")
    network = build_model(ModelSpec("torchvision:squeezenet1_1", {"pretrained": True}), 1000, 3).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), known(x))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_pretrained_network_sees_a_grey_image_through_any_channels(hub: Path, channels: int) -> None:
    known = provide(hub, "squeezenet1_1")
    spec = ModelSpec("torchvision:squeezenet1_1", {"pretrained": True})
    network = build_model(spec, 1000, channels).eval()
    grey = torch.randn(2, 1, 32, 32)
    assert torch.allclose(network(grey.repeat(1, channels, 1, 1)), known(grey.repeat(1, 3, 1, 1)), atol=1e-4)


def test_pretrained_googlenet_loses_what_needs_three_colours(hub: Path) -> None:
    weights = torchvision.models.GoogLeNet_Weights.DEFAULT
    donor = torchvision.models.googlenet(weights=None, init_weights=False)
    torch.save(donor.state_dict(), hub / weights.url.rpartition("/")[2])
    network = build_model(ModelSpec("torchvision:googlenet", {"pretrained": True}), 5, 1)
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 5)
    assert not any("aux" in path for path, _ in network.named_parameters())


def test_torchvision_without_a_connection(hub: Path) -> None:
    with pytest.raises(LimbeckError) as caught:
        build_model(ModelSpec("torchvision:squeezenet1_1", {"pretrained": True}), 10, 3)
    assert str(caught.value) == (
        "model 'torchvision:squeezenet1_1': its pretrained weights can't be had "
        "(<urlopen error no route to host>); connect to the network once, or set pretrained to false"
    )
    assert not list(hub.iterdir())


def test_timm_without_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason=WITHOUT_TIMM)
    builder = importlib.import_module("timm.models._builder")
    errors = importlib.import_module("huggingface_hub.errors")

    for failure in (
        errors.LocalEntryNotFoundError("not\nhere"),
        errors.HTTPError("proxy refused"),
        OSError(),
    ):

        def offline(*given: object, failure: Exception = failure, **options: object) -> None:
            raise failure

        monkeypatch.setattr(builder, "load_state_dict_from_hf", offline)
        with pytest.raises(LimbeckError, match=r"'timm:resnet18\.a1_in1k': .*can't be had \(.+\); connect") as caught:
            build_model(ModelSpec("timm:resnet18.a1_in1k", {"pretrained": True}), 10, 3)
        assert "\n" not in str(caught.value)


def test_timm_without_weights() -> None:
    timm = pytest.importorskip("timm", reason=WITHOUT_TIMM)
    bare = next(name for name in timm.list_models() if not timm.is_model_pretrained(name))
    with pytest.raises(LimbeckError, match=f"'timm:{bare}' has no pretrained weights; set pretrained to false"):
        build_model(ModelSpec(f"timm:{bare}", {"pretrained": True}), 10, 3)


def test_timm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for attempt in (build_model, check_model):
        with pytest.raises(LimbeckError, match=r"need timm, which is not installed: pip install 'limbeck\[timm\]'"):
            attempt(ModelSpec("timm:resnet18"), 10, 3)


def test_a_broken_timm_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("import something_else_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        check_model(ModelSpec("timm:resnet18"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnt18", "torchvision has no model 'resnt18'; did you mean 'resnet18'?"),
        ("torchvision:", "torchvision has no model ''; see torchvision's list_models()"),
        ("torchvision:fcn_resnet50", "torchvision has no model 'fcn_resnet50'; did you mean 'resnet50'?"),
        ("timm:resnt18", "timm has no model 'resnt18'; did you mean 'resnet18'?"),
        ("timm:qqqqqqqqqqqq", "timm has no model 'qqqqqqqqqqqq'; see timm's list_models()"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm", reason=WITHOUT_TIMM)
    with pytest.raises(LimbeckError) as caught:
        check_model(ModelSpec(name))
    assert str(caught.value) == message


def test_wrong_options() -> None:
    with pytest.raises(LimbeckError, match="pretrained='yes': must be a valid boolean"):
        check_model(ModelSpec("torchvision:resnet18", {"pretrained": "yes"}))
    with pytest.raises(
        LimbeckError, match="'torchvision:resnet18' has no option 'pretraned'; did you mean 'pretrained'"
    ):
        check_model(ModelSpec("torchvision:resnet18", {"pretraned": True}))
