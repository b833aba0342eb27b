"""The networks themselves: their sizes, their shapes, their arithmetic."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models import ModelSpec, build_model, parameters
from limbeck.models.cnn import SmallCNN
from limbeck.models.layers import Add, PadShortcut
from limbeck.models.preact_block import PreActBlock
from limbeck.models.preact_resnet import PreActResNet18
from limbeck.models.resnet import ResNet
from limbeck.models.wide_resnet import WideResNet


def conv(inside: int, outside: int, kernel: int) -> int:
    return inside * outside * kernel * kernel


def count_resnet(depth: int, classes: int, channels: int, projected: bool) -> int:
    """He et al. 2016, section 4.2: 2n convolutions each at 16, 32, 64 channels, a batch norm after each."""
    n = (depth - 2) // 6
    total = conv(channels, 16, 3) + 2 * 16
    for inside, outside in ((16, 16), (16, 32), (32, 64)):
        total += conv(inside, outside, 3) + (2 * n - 1) * conv(outside, outside, 3) + 2 * n * 2 * outside
        if projected and inside != outside:
            total += conv(inside, outside, 1) + 2 * outside
    return total + 64 * classes + classes


def count_wide(depth: int, widen: int, classes: int, channels: int) -> int:
    """Zagoruyko & Komodakis 2016, table 1: as above, but every batch norm comes before its convolution."""
    n = (depth - 4) // 6
    total = conv(channels, 16, 3)
    inside = 16
    for outside in (16 * widen, 32 * widen, 64 * widen):
        total += conv(inside, outside, 3) + (2 * n - 1) * conv(outside, outside, 3)
        total += 2 * inside + (2 * n - 1) * 2 * outside
        total += conv(inside, outside, 1) if inside != outside else 0
        inside = outside
    return total + 2 * inside + inside * classes + classes


def count_preact(classes: int, channels: int) -> int:
    total, inside = conv(channels, 64, 3) + 2 * 64, 64
    for outside in (64, 128, 256, 512):
        total += conv(inside, outside, 3) + 3 * conv(outside, outside, 3) + 2 * inside + 3 * 2 * outside
        total += conv(inside, outside, 1) if inside != outside else 0
        inside = outside
    return total + 512 * classes + classes


def size(name: str, classes: int, channels: int = 3, **options: bool | int | float | str) -> int:
    with torch.device("meta"):
        return parameters(build_model(ModelSpec(name, dict(options)), classes, channels))


@pytest.mark.parametrize(
    ("depth", "shortcut", "known"),
    [
        (20, "pad", 269_722),
        (20, "conv", 272_474),
        (110, "pad", 1_727_962),
        (8, "pad", None),
        (14, "conv", None),
        (32, "pad", None),
        (44, "conv", None),
        (56, "pad", None),
    ],
)
def test_resnet_counts(depth: int, shortcut: str, known: int | None) -> None:
    counted = count_resnet(depth, 10, 3, projected=shortcut == "conv")
    assert known in {None, counted}
    assert size(f"resnet{depth}", 10, shortcut=shortcut) == counted


@pytest.mark.parametrize(
    ("depth", "widen", "classes", "known"),
    [(16, 2, 100, 703_284), (28, 10, 10, 36_479_194), (40, 2, 100, 2_255_156), (10, 1, 7, None)],
)
def test_wide_resnet_counts(depth: int, widen: int, classes: int, known: int | None) -> None:
    counted = count_wide(depth, widen, classes, 3)
    assert known in {None, counted}
    assert size(f"wrn_{depth}_{widen}", classes) == counted


def test_preact_resnet18_count() -> None:
    assert size("preact_resnet18", 100) == count_preact(100, 3) == 11_217_444
    assert size("preact_resnet18", 20, channels=1) == count_preact(20, 1)


@pytest.mark.parametrize("width", [1, 8])
def test_cnn_counts(width: int) -> None:
    w = width
    weights = conv(1, w, 3) + conv(w, 2 * w, 3) + conv(2 * w, 4 * w, 3) + 4 * w * 10 + 10
    assert size("cnn", 10, 1, width=w) == weights + 2 * 7 * w
    assert size("cnn", 10, 1, width=w, norm="none") == weights + 7 * w


SMALL: list[tuple[str, dict[str, bool | int | float | str]]] = [
    ("resnet8", {}),
    ("resnet8", {"shortcut": "conv"}),
    ("resnet8", {"width": 2}),
    ("wrn_10_1", {}),
    ("wrn_10_2", {"dropout": 0.3}),
    ("cnn", {"width": 4}),
    ("cnn", {"width": 4, "norm": "none"}),
]


@pytest.mark.parametrize(("pixels", "channels"), [(8, 1), (9, 3), (28, 1), (32, 3), (64, 1)])
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_forward_and_backward(
    name: str, options: dict[str, bool | int | float | str], pixels: int, channels: int
) -> None:
    torch.manual_seed(0)
    network = build_model(ModelSpec(name, options), classes=5, channels=channels)
    logits = network(torch.randn(3, channels, pixels, pixels))
    assert logits.shape == (3, 5)
    functional.cross_entropy(logits, torch.tensor([0, 1, 4])).backward()
    for path, weight in network.named_parameters():
        assert weight.grad is not None, path
        assert weight.grad.isfinite().all(), path
        assert weight.grad.any(), path


@pytest.mark.parametrize(("pixels", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_preact_resnet18_forward_and_backward(pixels: int, channels: int) -> None:
    torch.manual_seed(0)
    network = build_model(ModelSpec("preact_resnet18"), classes=5, channels=channels)
    logits = network(torch.randn(2, channels, pixels, pixels))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 1)])
@pytest.mark.parametrize(("stride", "extra"), [(1, 0), (2, 3), (2, 0), (1, 2)])
def test_padded_shortcut_is_the_naive_one(height: int, width: int, stride: int, extra: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    rows, columns = -(-height // stride), -(-width // stride)
    expected = torch.zeros(2, 3 + extra, rows, columns, dtype=torch.float64)
    for image in range(2):
        for channel in range(3):
            for row in range(rows):
                for column in range(columns):
                    expected[image, channel, row, column] = x[image, channel, row * stride, column * stride]
    assert torch.equal(PadShortcut(stride, extra)(x), expected)
    assert "stride" in repr(PadShortcut(stride, extra))


def norm_relu(x: Tensor, weights: dict[str, Tensor], bn: str, relu: bool = True) -> Tensor:
    """Evaluation-mode batch norm from its formula, Ioffe & Szegedy 2015, algorithm 2."""
    mean, var, scale, shift = (
        weights[f"{bn}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    out = (x - mean) / (var + 1e-5).sqrt() * scale + shift
    return out.clamp(min=0) if relu else out


def awake(network: nn.Module) -> dict[str, Tensor]:
    """Put a network in float64 evaluation mode with batch statistics unlike 0 and 1; return its weights."""
    network.double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for statistic in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert statistic is not None
                statistic.data.uniform_(0.5, 1.5)
    return dict(network.state_dict())


def test_preact_resnet18_is_what_pskd_trained() -> None:
    torch.manual_seed(0)
    network = PreActResNet18(classes=7, channels=3)
    w = awake(network)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    out = norm_relu(functional.conv2d(x, w["stem.conv.weight"], padding=1), w, "stem.bn")
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = norm_relu(out, w, f"{at}.bn1")
            shortcut = active
            if stride == 2:
                shortcut = functional.conv2d(active, w[f"{at}.shortcut.weight"], stride=2)
            middle = functional.conv2d(active, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            middle = norm_relu(middle, w, f"{at}.bn2")
            out = functional.conv2d(middle, w[f"{at}.conv2.weight"], padding=1) + shortcut
    pooled = functional.avg_pool2d(out, 4).flatten(1)
    expected = pooled @ w["head.weight"].T + w["head.bias"]
    assert torch.allclose(network(x), expected, rtol=1e-10, atol=1e-10)


def test_wide_resnet_is_the_papers() -> None:
    torch.manual_seed(0)
    network = WideResNet(depth=16, widen=2, classes=7, channels=1)
    w = awake(network)
    x = torch.randn(2, 1, 12, 12, dtype=torch.float64)

    out = functional.conv2d(x, w["stem.weight"], padding=1)
    for stage in (1, 2, 3):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = norm_relu(out, w, f"{at}.bn1")
            shortcut = out
            if block == 0:
                shortcut = functional.conv2d(active, w[f"{at}.shortcut.weight"], stride=stride)
            middle = functional.conv2d(active, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            middle = norm_relu(middle, w, f"{at}.bn2")
            out = functional.conv2d(middle, w[f"{at}.conv2.weight"], padding=1) + shortcut
    pooled = norm_relu(out, w, "last.bn").mean((2, 3))
    expected = pooled @ w["head.weight"].T + w["head.bias"]
    assert torch.allclose(network(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shortcut", ["pad", "conv"])
def test_resnet_is_the_papers(shortcut: str) -> None:
    torch.manual_seed(0)
    network = build_model(ModelSpec("resnet14", {"shortcut": shortcut}), classes=7, channels=3)
    w = awake(network)
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)

    out = norm_relu(functional.conv2d(x, w["stem.conv.weight"], padding=1), w, "stem.bn")
    for stage in (1, 2, 3):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            middle = functional.conv2d(out, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            middle = norm_relu(middle, w, f"{at}.bn1")
            middle = functional.conv2d(middle, w[f"{at}.conv2.weight"], padding=1)
            middle = norm_relu(middle, w, f"{at}.bn2", relu=False)
            if stride == 1:
                carried = out
            elif shortcut == "pad":
                carried = torch.cat([out[:, :, ::2, ::2], torch.zeros_like(out[:, :, ::2, ::2])], dim=1)
            else:
                carried = functional.conv2d(out, w[f"{at}.shortcut.conv.weight"], stride=2)
                carried = norm_relu(carried, w, f"{at}.shortcut.bn", relu=False)
            out = (middle + carried).clamp(min=0)
    expected = out.mean((2, 3)) @ w["head.weight"].T + w["head.bias"]
    assert torch.allclose(network(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet8", "wrn_10_1", "cnn", "preact_resnet18"])
def test_the_seed_settles_the_weights(name: str) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build_model(ModelSpec(name), 10, 3).parameters()).detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_kaiming_start() -> None:
    torch.manual_seed(0)
    network = ResNet(depth=20, classes=10, channels=3)
    last = network.layer3[2]
    assert last.conv2.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert torch.equal(last.bn2.weight, torch.ones(64))
    assert torch.equal(network.head.bias, torch.zeros(10))


@pytest.mark.parametrize(
    "network",
    [ResNet(8, 5, 1), WideResNet(10, 1, 5, 1), SmallCNN(5, 1), PreActResNet18(5, 1)],
    ids=lambda network: type(network).__name__,
)
def test_tensors_before_a_relu_stay_what_they_were(network: nn.Module) -> None:
    """Whatever a module puts out, nothing after it writes over it: tapped tensors are safe."""
    seen: list[tuple[str, Tensor, Tensor]] = []
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.ReLU | Add | PadShortcut):

            def keep(layer: nn.Module, given: object, out: Tensor, path: str = path) -> None:
                seen.append((path, out, out.detach().clone()))

            layer.register_forward_hook(keep)
    network(torch.randn(4, 1, 8, 8)).sum().backward()
    assert seen
    for path, out, then in seen:
        assert torch.equal(out, then), path


def test_without_batch_norm_examples_do_not_meet() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    alone, together = (SmallCNN(10, 1, norm=norm).double() for norm in ("none", "batch"))
    assert torch.allclose(alone(x)[:2], alone(x[:2]), rtol=1e-12)
    assert not torch.allclose(together(x)[:2], together(x[:2]), rtol=1e-2)


def test_dropout_drops_only_in_training() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    block = PreActBlock(4, 4, 1, "input", dropout=0.5)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ResNet(21, 10, 3),
        lambda: ResNet(2, 10, 3),
        lambda: ResNet(20, 0, 3),
        lambda: ResNet(20, 10, 3, shortcut="zero"),
        lambda: ResNet(20, 10, 3, width=0),
        lambda: WideResNet(16, 2, 10, 3, dropout=1.0),
        lambda: SmallCNN(10, 1, norm="layer"),
        lambda: PreActResNet18(10, 3.0),
    ],
)
def test_constructors_refuse_what_they_cannot_build(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValidationError):
        wrong()
