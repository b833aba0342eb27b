import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import special, stats

from limbeck.data import draws
from limbeck.data.load import MIXES
from limbeck.data.mixing import CutMix, Mixer, Mixup
from limbeck.errors import LimbeckError

IDS = torch.arange(4000) * 2 + 5


@pytest.mark.parametrize("mixer", [CutMix(), CutMix(0.3, 0.9), Mixup(), Mixup(1.0, 0.4)])
def test_partners(mixer):
    plan = mixer.plan(1, 2, IDS, 512, 512)
    own = torch.arange(len(IDS))
    assert torch.equal(plan.partners == own, plan.weight == 1)
    assert abs((plan.weight < 1).float().mean() - mixer.probability) < 0.03
    assert plan.weight.min() >= 0
    mixed = plan.partners[plan.weight < 1].numpy()
    assert stats.chisquare(np.histogram(mixed, bins=20, range=(0, 4000))[0]).pvalue > 1e-4


@pytest.mark.parametrize("mixer", [CutMix(), Mixup()])
def test_a_plan_depends_on_its_address_only(mixer):
    one, two = mixer.plan(1, 2, IDS, 8, 8), mixer.plan(1, 2, IDS, 8, 8)
    assert all(torch.equal(first, second) for first, second in zip(one, two, strict=True))
    for other in (mixer.plan(1, 3, IDS, 8, 8), mixer.plan(2, 2, IDS, 8, 8)):
        assert not torch.equal(one.partners, other.partners)
        assert not torch.equal(one.weight, other.weight)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_weights_are_beta(alpha):
    weight = Mixup(alpha).plan(0, 0, IDS, 8, 8).weight.numpy()
    assert stats.kstest(weight, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (32, 32)])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_cutmix_boxes_are_those_of_the_definition(height, width, alpha):
    plan = CutMix(alpha, 0.8).plan(3, 4, IDS, height, width)
    given = draws.uniform(3, 4, 0, IDS, 4, stream=draws.MIX).double().tolist()
    for (u, v, y, x), weight, found in zip(given, plan.weight.tolist(), plan.boxes.tolist(), strict=True):
        share = 1.0 if u >= 0.8 else v if alpha == 1 else special.betaincinv(alpha, alpha, v)
        side = math.sqrt(1 - share)
        box = []
        for centre, size in ((math.floor(y * height), height), (math.floor(x * width), width)):
            length = math.floor(size * side)
            first = centre - length // 2
            box.append((min(max(first, 0), size), min(max(first + length, 0), size)))
        (top, bottom), (left, right) = box
        assert found == [top, left, bottom, right]
        assert weight == pytest.approx(1 - (bottom - top) * (right - left) / (height * width))


def test_blends():
    generator = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 20, 3, 8, 8, generator=generator)
    for mixer in (CutMix(1.0, 1.0), Mixup(1.0)):
        plan = mixer.plan(0, 0, IDS[:20], 8, 8)
        found = mixer.blend(own, other, plan.weight, plan.boxes)
        for row in range(20):
            weight, (top, left, bottom, right) = plan.weight[row].double(), plan.boxes[row].tolist()
            expected = own[row].double().clone()
            if isinstance(mixer, CutMix):
                expected[:, top:bottom, left:right] = other[row, :, top:bottom, left:right].double()
                assert weight == pytest.approx((expected == own[row]).double().mean().item())
            else:
                expected = weight * expected + (1 - weight) * other[row].double()
            torch.testing.assert_close(found[row].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mixer", [CutMix(0.5, 0.25), Mixup(0.3, 0.75)])
def test_mixers_are_read_from_json(mixer):
    adapter = TypeAdapter(MIXES[mixer.name])
    assert adapter.validate_json(adapter.dump_json(mixer), strict=True) == mixer
    assert isinstance(mixer, Mixer)


@pytest.mark.parametrize("mixer", [CutMix(), Mixup()])
def test_one_example_has_no_partner(mixer):
    with pytest.raises(LimbeckError, match="at least two training examples"):
        mixer.plan(0, 0, IDS[:1], 8, 8)
