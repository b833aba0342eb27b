"""PyramidNet and ShakeDrop, against their papers' formulas."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model, check_model, parameters
from limbeck.models.pyramidnet import PyramidBlock, PyramidNet
from limbeck.models.shakedrop import ShakeDrop


def count(depth: int, alpha: int, classes: int, channels: int) -> int:
    """Han et al. 2017, section 3: three convolutions a block and four batch norms, widths from equation 2."""
    blocks = (depth - 2) // 9 * 3
    total, inside = channels * 16 * 9 + 2 * 16, 16
    for number in range(1, blocks + 1):
        width = round(16 + alpha * number / blocks)
        total += inside * width + width * width * 9 + width * 4 * width + 2 * (inside + 2 * width + 4 * width)
        inside = 4 * width
    return total + 2 * inside + inside * classes + classes


@pytest.mark.parametrize(
    ("depth", "alpha", "classes", "channels", "known"),
    [(200, 240, 100, 3, 26_844_952), (29, 20, 10, 1, None), (11, 7, 5, 3, None)],
)
def test_size(depth: int, alpha: int, classes: int, channels: int, known: int | None) -> None:
    counted = count(depth, alpha, classes, channels)
    assert known in {None, counted}
    with torch.device("meta"):
        assert parameters(PyramidNet(depth, alpha, classes, channels, shakedrop=0.5)) == counted


def test_pyramidnet200_in_evaluation_at_64_pixels() -> None:
    torch.manual_seed(0)
    network = build_model(ModelSpec("pyramidnet200", {"shakedrop": 0.5}), classes=5, channels=3).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("pixels", "channels"), [(8, 1), (28, 1), (33, 3), (64, 3)])
@pytest.mark.parametrize("shakedrop", [0.0, 0.5])
def test_small_ones_at_any_size(pixels: int, channels: int, shakedrop: float) -> None:
    torch.manual_seed(0)
    network = PyramidNet(29, 20, 5, channels, shakedrop=shakedrop)
    logits = network(torch.randn(2, channels, pixels, pixels))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    for path, weight in network.named_parameters():
        assert weight.grad is not None, path
        assert weight.grad.isfinite().all(), path


def test_weights_start_as_the_authors() -> None:
    torch.manual_seed(0)
    network = PyramidNet(29, 480, 100, 3)
    last = network.layer3[2]
    assert last.conv2.weight.std().item() == pytest.approx((2 / (496 * 9)) ** 0.5, rel=0.02)
    assert 0 < network.head.bias.abs().max().item() <= (4 * 496) ** -0.5


def awake(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for statistic in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert statistic is not None
                statistic.data.uniform_(0.5, 1.5)
    return network.double().eval()


def norm(x: Tensor, weights: dict[str, Tensor], bn: str) -> Tensor:
    mean, var, scale, shift = (
        weights[f"{bn}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


@pytest.mark.parametrize(("size", "stride"), [(6, 1), (6, 2), (5, 2)])
@pytest.mark.parametrize("drop", [0.0, 0.25])
def test_block_is_the_papers(size: int, stride: int, drop: float) -> None:
    torch.manual_seed(0)
    block = awake(PyramidBlock(6, 3, stride, drop))
    w = dict(block.state_dict())
    x = torch.randn(2, 6, size, size, dtype=torch.float64)
    out = functional.conv2d(norm(x, w, "bn1"), w["conv1.weight"])
    out = functional.conv2d(norm(out, w, "bn2").clamp(min=0), w["conv2.weight"], stride=stride, padding=1)
    out = functional.conv2d(norm(out, w, "bn3").clamp(min=0), w["conv3.weight"])
    expected = norm(out, w, "bn4") * (1 - drop)
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            seen = x[:, :, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            expected[:, :6, row, column] += seen.mean((2, 3))
    assert torch.allclose(block(x), expected, rtol=1e-10, atol=1e-10)


def test_drop_grows_evenly() -> None:
    with torch.device("meta"):
        network = PyramidNet(29, 20, 5, 3, shakedrop=0.5)
        plain = PyramidNet(29, 20, 5, 3)
    drops = [layer.drop for layer in network.modules() if isinstance(layer, ShakeDrop)]
    assert drops == pytest.approx([0.5 * block / 9 for block in range(1, 10)])
    assert not any(isinstance(layer, ShakeDrop) for layer in plain.modules())


def factors(shake: ShakeDrop, examples: int = 4) -> tuple[Tensor, Tensor]:
    """Return what one call multiplies each example by, forward and backward."""
    branch = torch.randn(examples, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    out = shake(branch)
    (out * 2).sum().backward()
    assert branch.grad is not None
    forward, backward = (out / branch).detach().flatten(1), (branch.grad / 2).flatten(1)
    for factor in (forward, backward):
        assert torch.allclose(factor, factor[:, :1], rtol=1e-6)
    return forward[:, 0], backward[:, 0]


def test_shakedrop_scales_forward_by_alpha_and_backward_by_beta() -> None:
    torch.manual_seed(0)
    alpha, beta = factors(ShakeDrop(1.0), examples=2000)
    for drawn, low in ((alpha, -1.0), (beta, 0.0)):
        assert low <= drawn.min() < low + 0.01
        assert 0.99 < drawn.max() <= 1 + 1e-9
        assert drawn.mean().item() == pytest.approx((low + 1) / 2, abs=0.05)
    assert torch.corrcoef(torch.stack([alpha, beta]))[0, 1].abs() < 0.1


def test_shakedrop_throws_one_coin_for_the_batch() -> None:
    torch.manual_seed(0)
    shake = ShakeDrop(0.3)
    dropped = 0
    for _ in range(600):
        alpha, beta = factors(shake)
        ones = torch.isclose(alpha, torch.ones_like(alpha))
        assert ones.all() or not ones.any()
        assert torch.allclose(beta, torch.ones_like(beta)) == bool(ones.all())
        dropped += int(not ones.any())
    assert dropped / 600 == pytest.approx(0.3, abs=0.06)


def test_shakedrop_in_evaluation_is_the_expectation() -> None:
    shake = ShakeDrop(0.3).eval()
    forward, backward = factors(shake)
    assert torch.allclose(forward, torch.full_like(forward, 0.7))
    assert torch.allclose(backward, torch.full_like(backward, 0.7))
    state = torch.get_rng_state()
    shake(torch.ones(2, 1, 2, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert "drop=0.3" in repr(shake)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_seed_settles_shakedrop(dtype: torch.dtype) -> None:
    x = torch.randn(3, 2, 4, 4).to(dtype)

    def shaken(seed: int) -> Tensor:
        torch.manual_seed(seed)
        out: Tensor = ShakeDrop(1.0)(x)
        return out

    assert shaken(1).dtype == dtype
    assert torch.equal(shaken(1), shaken(1))
    assert not torch.equal(shaken(1), shaken(2))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PyramidNet(30, 20, 10, 3),
        lambda: PyramidNet(2, 20, 10, 3),
        lambda: PyramidNet(29, 0, 10, 3),
        lambda: PyramidNet(29, 20, 10, 3, shakedrop=1.5),
    ],
)
def test_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValidationError):
        wrong()


def test_wrong_depth_and_options_in_one_line() -> None:
    with pytest.raises(ValidationError, match=r"should be 9n \+ 2 \(11, 20, 29, 38, \.\.\.\)"):
        PyramidNet(30, 20, 10, 3)
    with pytest.raises(LimbeckError, match=r"'pyramidnet200' has no option 'alpha'; there are: shakedrop"):
        check_model(ModelSpec("pyramidnet200", {"alpha": 48}))
