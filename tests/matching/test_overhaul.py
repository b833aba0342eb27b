"""OD's margin against Monte Carlo and quadrature; its partial L2 against plain loops."""

import math

import pytest
import torch

from limbeck.core import Clock
from limbeck.core.layers import probe
from limbeck.errors import LimbeckError
from limbeck.matching import Connector, InheritExplore, Overhaul, margin, margin_relu, partial_l2
from limbeck.models import ModelSpec, build_model


def one(mean, std, dtype=torch.float64):
    return float(margin(torch.tensor([mean], dtype=dtype), torch.tensor([std], dtype=dtype)))


def test_the_margin_measured_before():
    assert one(0.3, 0.8) == pytest.approx(-0.5408, abs=5e-5)


@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.8), (-1.0, 0.5), (0.0, 2.0), (1.5, 1.0)])
def test_the_margin_is_the_mean_of_negative_draws(mean, std):
    draws = mean + std * torch.randn(2_000_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    negative = draws[draws < 0]
    error = 5 * float(negative.std()) / math.sqrt(len(negative))
    assert one(mean, std) == pytest.approx(float(negative.mean()), abs=error)


@pytest.mark.parametrize("mean", [-30.0, -3.0, -0.2, 0.0, 0.4, 2.0, 3.0])
def test_the_margin_is_the_integral(mean):
    """The rule of trapezia on x < 0, unit variance."""
    step, weight, moment = 1e-4, 0.0, 0.0
    low = min(mean, 0.0) - 12
    for i in range(int(-low / step) + 1):
        x = -i * step
        density = math.exp(-((x - mean) ** 2) / 2) * (0.5 if i == 0 else 1.0)
        weight, moment = weight + density, moment + x * density
    assert one(mean, 1.0) == pytest.approx(moment / weight, rel=1e-6)


def test_where_negatives_are_rarer_than_one_in_a_thousand_the_margin_is_three_deviations():
    # the normal distribution leaves 0.001 beyond 3.0902 deviations
    assert one(3.0903, 1.0) == -3.0
    share = math.erfc(3.0901 / math.sqrt(2)) / 2
    density = math.exp(-(3.0901**2) / 2) / math.sqrt(2 * math.pi)
    assert one(3.0901, 1.0) == pytest.approx(3.0901 - density / share, rel=1e-9)
    assert one(100.0, 2.0) == -6.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_extreme_values_give_no_nan(dtype):
    most = torch.finfo(dtype).max
    least = torch.finfo(dtype).tiny
    for mean in (0.0, least, -least, 1.0, -1.0, most / 4, -most / 4):
        for std in (0.0, least, 1e-4, 1.0, most / 4):
            found = one(mean, std, dtype)
            assert math.isfinite(found)
            assert found <= 0
    assert one(-2.0, 0.0) == -2.0
    assert one(2.0, 0.0) == 0.0
    assert one(0.0, 0.0) == 0.0
    assert one(-2.0, 1e-30) == -2.0
    assert one(0.3, -0.8) == one(0.3, 0.8)


def test_the_margin_relu_cuts_each_channel_at_its_own_margin(drawn):
    teacher, cut = drawn(2, 3, 2, 2), torch.tensor([-0.5, -0.1, -2.0], dtype=torch.float64)
    found = margin_relu(teacher, cut)
    for b in range(2):
        for c in range(3):
            expected = [max(x, float(cut[c])) for x in teacher[b, c].flatten().tolist()]
            assert found[b, c].flatten().tolist() == expected
    assert margin_relu(teacher.half(), cut.float()).dtype == torch.float16


def test_the_partial_l2_is_what_plain_loops_say(drawn):
    student, teacher = drawn(3, 4, 2, 2), margin_relu(drawn(3, 4, 2, 2, seed=1), torch.full((4,), -0.4).double())
    total = 0.0
    for s, t in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        if s > t or t > 0:
            total += (s - t) ** 2
    assert float(partial_l2(student, teacher)) == pytest.approx(total, rel=1e-12)
    kept = (student > teacher) | (teacher > 0)
    assert 0 < int(kept.sum()) < kept.numel()


def test_what_does_not_count_gets_no_gradient_however_large(drawn, slope):
    student = torch.tensor([-1e38, -3e38, 0.5, 2.0, -1.0])
    teacher = torch.tensor([-0.1, 0.0, -0.1, 1.0, 1.0])
    assert slope(lambda x: partial_l2(x, teacher), student).tolist() == pytest.approx([0, 0, 1.2, 2.0, -4.0])


def test_half_precision_sums_do_not_overflow():
    student, teacher = torch.full((8, 64, 8, 8), 4.0).half(), torch.zeros(8, 64, 8, 8).half()
    assert float(partial_l2(student, teacher)) == 16 * 8 * 64 * 64


def test_other_shapes_are_refused(drawn):
    with pytest.raises(LimbeckError, match="put a connector between them"):
        partial_l2(drawn(2, 3, 4, 4), drawn(2, 3, 4, 1))


def test_the_connector_changes_channels_only(drawn):
    torch.manual_seed(0)
    connector = Connector(16, 512)
    assert connector(drawn(2, 16, 4, 4).float()).shape == (2, 512, 4, 4)
    conv, norm = connector.layers
    assert conv.bias is None
    assert float(conv.weight.detach().std()) == pytest.approx(math.sqrt(2 / 512), rel=0.03)
    assert norm.weight.unique().tolist() == [1.0]


@pytest.mark.parametrize("wrap", [lambda matcher: matcher, InheritExplore])
def test_margins_that_were_never_measured_are_missed(wrap):
    net = build_model(ModelSpec("resnet8"), 10, 3)
    layers = probe(net, (3, 8, 8))
    matcher = wrap(Overhaul(margin="measured", layers=("layer3.0.add",)))
    matcher.prepare(matcher.choose(layers, layers))
    features = [torch.randn(4, 64, 2, 2)]
    with pytest.raises(LimbeckError, match=r"no margins yet: .* settle\(\) them"):
        matcher(features, features, Clock(0, 1))
    matcher.settle(matcher.survey(features))
    assert all(term.distance.isfinite() for term in matcher(features, features, Clock(0, 1)).values())
