"""What the networks that PS-KD and Tf-KD train compute: against torchvision's, and against plain formulas."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models import ModelSpec, build_model
from limbeck.models.bottleneck import Bottleneck
from limbeck.models.densenet import DenseNet121
from limbeck.models.layers import Add
from limbeck.models.mobilenet import InvertedResidual
from limbeck.models.plain_cnn import PlainCNN
from limbeck.models.shufflenet import ShuffleUnit


def give_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy weights and statistics in their order, whatever their names are."""
    values, names = source.state_dict().values(), target.state_dict().keys()
    target.load_state_dict(dict(zip(names, values, strict=True)))


def awake(network: nn.Module) -> nn.Module:
    """Put a network in float64 evaluation mode, with batch statistics unlike 0 and 1."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for statistic in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert statistic is not None
                statistic.data.uniform_(0.5, 1.5)
    return network.double().eval()


@pytest.mark.parametrize("depth", [18, 50])
def test_resnets_compute_what_torchvisions_do(depth: int) -> None:
    torch.manual_seed(0)
    ours = awake(build_model(ModelSpec(f"resnet{depth}"), 7, 3))
    theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=7).double().eval()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False).double()
    theirs.maxpool = nn.Identity()
    give_weights(ours, theirs)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    assert torch.allclose(ours(x), theirs(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("inside", "stride"), [(16, 1), (16, 2), (32, 1)])
def test_a_bottleneck_computes_what_torchvisions_does(inside: int, stride: int) -> None:
    torch.manual_seed(0)
    ours = awake(Bottleneck(inside, 32, 32, stride, groups=4))
    shrinks = stride != 1 or inside != 32
    shortcut = nn.Sequential(nn.Conv2d(inside, 32, 1, stride, bias=False), nn.BatchNorm2d(32)) if shrinks else None
    theirs = torchvision.models.resnet.Bottleneck(inside, 8, stride, shortcut, groups=4, base_width=64)
    give_weights(ours, theirs.double().eval())
    x = torch.randn(2, inside, 9, 9, dtype=torch.float64)
    assert torch.allclose(ours(x), theirs(x), rtol=1e-9, atol=1e-9)


def test_densenet_transitions() -> None:
    torch.manual_seed(0)
    networks = {name: awake(DenseNet121(7, 3, transition=name)) for name in ("bn_relu", "bn")}
    networks["bn"].load_state_dict(networks["bn_relu"].state_dict())
    x = torch.randn(2, 256, 8, 8, dtype=torch.float64)
    for name, network in networks.items():
        step = network.features.get_submodule("transition1")
        normed = step.get_submodule("norm")(x)
        active = normed.clamp(min=0) if name == "bn_relu" else normed
        expected = functional.avg_pool2d(functional.conv2d(active, step.get_parameter("conv.weight")), 2)
        assert torch.allclose(step(x), expected, rtol=1e-10, atol=1e-10)
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert not torch.allclose(networks["bn"](image), networks["bn_relu"](image))


def unit(x: Tensor, weights: dict[str, Tensor], at: str, top: float | None, **shape: int) -> Tensor:
    """Convolution with a bias, evaluation-mode batch norm from its formula, and clamping to [0, `top`]."""
    x = functional.conv2d(x, weights[f"{at}.conv.weight"], weights[f"{at}.conv.bias"], **shape)
    mean, var, scale, shift = (
        weights[f"{at}.bn.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    out = (x - mean) / (var + 1e-5).sqrt() * scale + shift
    return out if top is None else out.clamp(0, top)


@pytest.mark.parametrize(("inside", "stride", "expansion"), [(6, 1, 6), (4, 1, 1), (6, 2, 6)])
def test_inverted_residual_is_the_papers(inside: int, stride: int, expansion: int) -> None:
    torch.manual_seed(0)
    block = awake(InvertedResidual(inside, 6, stride, expansion))
    w = dict(block.state_dict())
    x = torch.randn(2, inside, 9, 9, dtype=torch.float64)
    out = unit(x, w, "expand", 6)
    out = unit(out, w, "depthwise", 6, padding=1, stride=stride, groups=expansion * inside)
    out = unit(out, w, "project", None)
    expected = out + x if stride == 1 and inside == 6 else out
    assert torch.allclose(block(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("inside", "stride"), [(8, 1), (6, 2)])
def test_shuffle_unit_is_the_papers(inside: int, stride: int) -> None:
    torch.manual_seed(0)
    block = awake(ShuffleUnit(inside, 8, stride))
    w = dict(block.state_dict())
    x = torch.randn(2, inside, 9, 9, dtype=torch.float64)
    left, right = (x[:, :4], x[:, 4:]) if stride == 1 else (x, x)
    groups = right.shape[1]
    right = unit(right, w, "branch.first", torch.inf)
    right = unit(right, w, "branch.depthwise", None, padding=1, stride=stride, groups=groups)
    right = unit(right, w, "branch.last", torch.inf)
    if stride == 2:
        left = unit(left, w, "shortcut.depthwise", None, padding=1, stride=2, groups=inside)
        left = unit(left, w, "shortcut.last", torch.inf)
    out = block(x)
    for channel in range(4):  # shuffled in two groups: the halves take turns
        assert torch.allclose(out[:, 2 * channel], left[:, channel], rtol=1e-10, atol=1e-10)
        assert torch.allclose(out[:, 2 * channel + 1], right[:, channel], rtol=1e-10, atol=1e-10)


def test_googlenet_branches_are_tfkds() -> None:
    torch.manual_seed(0)
    network = awake(build_model(ModelSpec("googlenet"), 7, 3))
    block = network.get_submodule("inception3a")
    w = dict(block.state_dict())
    x = torch.randn(2, 192, 5, 5, dtype=torch.float64)
    five = x
    for place, padding in ((0, 0), (1, 1), (2, 1)):
        five = unit(five, w, f"branch3.{place}", torch.inf, padding=padding)
    pooled = functional.max_pool2d(x, 3, 1, padding=1)
    expected = [
        unit(x, w, "branch1", torch.inf),
        unit(unit(x, w, "branch2.0", torch.inf), w, "branch2.1", torch.inf, padding=1),
        five,
        unit(pooled, w, "branch4.1", torch.inf),
    ]
    assert torch.allclose(block(x), torch.cat(expected, 1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pixels", [8, 32, 64])
def test_plain_cnn_is_tfkds(pixels: int) -> None:
    torch.manual_seed(0)
    network = awake(PlainCNN(classes=7, channels=3))
    w = dict(network.state_dict())
    x = torch.randn(2, 3, pixels, pixels, dtype=torch.float64)
    out = x
    for layer in ("layer1", "layer2", "layer3"):
        out = functional.max_pool2d(unit(out, w, layer, None, padding=1), 2).clamp(min=0)
    if pixels == 8:
        out = out.repeat(1, 1, 4, 4)
    elif pixels == 64:
        out = out.reshape(2, 128, 4, 2, 4, 2).mean((3, 5))
    hidden = out.flatten(1) @ w["hidden.linear.weight"].T + w["hidden.linear.bias"]
    scale = w["hidden.bn.weight"] / (w["hidden.bn.running_var"] + 1e-5).sqrt()
    hidden = ((hidden - w["hidden.bn.running_mean"]) * scale + w["hidden.bn.bias"]).clamp(min=0)
    expected = hidden @ w["head.weight"].T + w["head.bias"]
    assert torch.allclose(network(x), expected, rtol=1e-10, atol=1e-10)


def test_blocks_without_a_change_of_shape_add_their_input() -> None:
    assert isinstance(InvertedResidual(6, 6, 1, 6).add, Add)
    assert InvertedResidual(6, 8, 1, 6).add is None
    assert isinstance(Bottleneck(8, 4, 8, 1).shortcut, nn.Identity)
