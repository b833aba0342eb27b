"""The networks that PS-KD and Tf-KD train: sizes (counted on the authors' code), shapes, starts, gradients."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from limbeck.core.layers import probe
from limbeck.models import ModelSpec, build_model, parameters
from limbeck.models.densenet import DenseNet121
from limbeck.models.four_stage_resnet import FourStageResNet
from limbeck.models.googlenet import googlenet
from limbeck.models.plain_cnn import PlainCNN
from limbeck.models.resnext import ResNeXt29

# parameters at 100 classes and three channels; torchvision's own less what the smaller stem saves for 34 and 152
COUNTS = {
    "resnet18": 11_220_132,
    "resnet34": 21_328_292,
    "resnet50": 23_705_252,
    "resnet101": 42_697_380,
    "resnet152": 58_341_028,
    "resnext29_8x64d": 34_518_948,
    "densenet121": 7_048_548,
    "pyramidnet200": 26_844_952,
    "googlenet": 6_258_500,
    "mobilenet_v2": 2_369_380,
    "shufflenet_v2": 1_360_896,
    "plain_cnn": 369_124,
}
TRAINED = [
    *((name, 32) for name in COUNTS if name not in {"resnet34", "resnet101", "resnet152"}),
    *((name, 64) for name in COUNTS if name not in {"resnet34", "resnet101", "resnet152", "pyramidnet200"}),
]


@pytest.mark.parametrize("name", COUNTS)
def test_sizes(name: str) -> None:
    with torch.device("meta"):
        assert parameters(build_model(ModelSpec(name), 100, 3)) == COUNTS[name]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_resnets_are_torchvisions_but_for_the_stem(depth: int) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=7)
        ours = build_model(ModelSpec(f"resnet{depth}"), 7, 3)
    assert parameters(ours) == parameters(theirs) - 64 * 3 * (7 * 7 - 3 * 3)


@pytest.mark.parametrize("pixels", [8, 9, 28, 32, 64])
@pytest.mark.parametrize("name", COUNTS)
def test_every_size_of_image_gives_logits(name: str, pixels: int) -> None:
    with torch.device("meta"):
        network = build_model(ModelSpec(name), 5, 1)
        assert network(torch.empty(2, 1, pixels, pixels)).shape == (2, 5)


@pytest.mark.parametrize(("name", "pixels"), TRAINED)
def test_forward_and_backward(name: str, pixels: int) -> None:
    """Gradients are finite, and whatever a module puts out, nothing after it writes over it."""
    torch.manual_seed(0)
    network = build_model(ModelSpec(name), classes=5, channels=3)
    seen = watch(network)
    logits = network(torch.randn(2, 3, pixels, pixels))
    assert logits.shape == (2, 5)
    check_backward(network, logits)
    assert len({path for path, _, _ in seen}) == len(seen) > 10
    for path, out, version in seen:
        assert out._version == version, path


def watch(network: nn.Module) -> list[tuple[str, Tensor, int]]:
    """Return a list that each layer without layers of its own fills, as it runs, with what it puts out."""
    seen: list[tuple[str, Tensor, int]] = []
    for path, layer in network.named_modules():
        if not list(layer.children()):

            def keep(layer: nn.Module, given: object, out: Tensor, path: str = path) -> None:
                seen.append((path, out, out._version))

            layer.register_forward_hook(keep)
    assert not any(getattr(layer, "inplace", False) for layer in network.modules())
    return seen


def check_backward(network: nn.Module, logits: Tensor) -> None:
    functional.cross_entropy(logits, torch.tensor([0, 4])).backward()
    for path, weight in network.named_parameters():
        assert weight.grad is not None, path
        assert weight.grad.isfinite().all(), path


@pytest.mark.parametrize(
    ("name", "path", "shape"),
    [
        ("resnet18", "layer4.0.add", (512, 4, 4)),
        ("resnet50", "layer1.2.bn3", (256, 32, 32)),
        ("resnext29_8x64d", "layer2.0.conv1", (1024, 32, 32)),
        ("resnext29_8x64d", "layer3", (1024, 8, 8)),
        ("densenet121", "features.conv0", (64, 32, 32)),
        ("densenet121", "features.norm5", (1024, 4, 4)),
        ("googlenet", "conv1.bn", (192, 32, 32)),
        ("googlenet", "inception4e", (832, 16, 16)),
        ("googlenet", "inception5b.branch3.2.bn", (128, 8, 8)),
        ("mobilenet_v2", "stem.bn", (32, 34, 34)),
        ("mobilenet_v2", "layer7", (320, 5, 5)),
        ("shufflenet_v2", "stem", (24, 32, 32)),
        ("shufflenet_v2", "layer1", (116, 16, 16)),
        ("shufflenet_v2", "last.bn", (1024, 4, 4)),
        ("pyramidnet200", "layer1", (384, 32, 32)),
        ("pyramidnet200", "last.bn", (1024, 8, 8)),
        ("plain_cnn", "layer3.pool", (128, 4, 4)),
    ],
)
def test_layers_to_tap_have_the_authors_shapes(name: str, path: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = build_model(ModelSpec(name), 100, 3)
    assert probe(network, (3, 32, 32))[path].shape == shape


def test_resnext_has_three_stages_of_eight_groups() -> None:
    with torch.device("meta"):
        network = ResNeXt29(classes=100, channels=3)
    blocks = [block for stage in (network.layer1, network.layer2, network.layer3) for block in stage]
    grouped = [block.conv2 for block in blocks]
    assert [conv.out_channels for conv in grouped] == [512] * 3 + [1024] * 3 + [2048] * 3
    assert {conv.groups for conv in grouped} == {8}
    assert [conv.stride[0] for conv in grouped] == [1, 1, 1, 2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize(("name", "path"), [("googlenet", "dropout"), ("plain_cnn", "hidden.dropout")])
def test_dropout_is_the_authors(name: str, path: str) -> None:
    with torch.device("meta"):
        dropout = build_model(ModelSpec(name), 7, 3).get_submodule(path)
    assert isinstance(dropout, nn.Dropout)
    assert dropout.p == {"googlenet": 0.4, "plain_cnn": 0.5}[name]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "mobilenet_v2", "shufflenet_v2", "plain_cnn"])
def test_weights_start_as_pytorchs_own_layers_do(name: str) -> None:
    """Every weight is uniform within 1 / sqrt(fan_in), and the seed settles it."""

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build_model(ModelSpec(name), 100, 3)

    network = build(1)
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            largest = layer.weight.detach().abs().max().item()
            assert 0.85 * bound < largest <= bound * (1 + 1e-6), path
            if layer.weight.numel() > 10_000:
                assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), path
    weights, again, others = (
        nn.utils.parameters_to_vector(net.parameters()).detach() for net in (network, build(1), build(2))
    )
    assert torch.equal(weights, again)
    assert not torch.equal(weights, others)


def test_resnext_starts_from_kaiming_normal() -> None:
    torch.manual_seed(0)
    network = ResNeXt29(classes=100, channels=3)
    assert network.layer1[0].conv2.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert network.head.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)
    assert torch.equal(network.head.bias, torch.zeros(100))


@pytest.mark.parametrize("name", ["googlenet", "plain_cnn"])
def test_the_seed_settles_training(name: str) -> None:
    def trained() -> Tensor:
        torch.manual_seed(3)
        network = build_model(ModelSpec(name), 5, 1)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            functional.cross_entropy(network(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
            optimiser.step()
        return nn.utils.parameters_to_vector(network.parameters()).detach()

    assert torch.equal(trained(), trained())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FourStageResNet(20, 10, 3),
        lambda: FourStageResNet(18, 0, 3),
        lambda: DenseNet121(10, 3, transition="relu"),
        lambda: PlainCNN(10, 3, dropout=1.0),
        lambda: googlenet(10, 0),
    ],
)
def test_constructors_refuse_what_they_cannot_build(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValidationError):
        wrong()
