"""AT's map and distance against plain loops; no NaN where nothing is active."""

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.matching import attention_distance, attention_map


def test_the_map_is_what_plain_loops_say(drawn, naive_map):
    features = drawn(3, 5, 4, 2)
    expected = torch.tensor([naive_map(example) for example in features.tolist()], dtype=torch.float64)
    torch.testing.assert_close(attention_map(features), expected, rtol=1e-12, atol=0)


def test_both_distances_are_what_plain_loops_say(drawn, naive_map):
    student, teacher = drawn(3, 5, 4, 4), drawn(3, 7, 4, 4, seed=1)
    total = 0.0
    for one, other in zip(student.tolist(), teacher.tolist(), strict=True):
        total += sum((a - b) ** 2 for a, b in zip(naive_map(one), naive_map(other), strict=True))
    maps = attention_map(student), attention_map(teacher)
    assert float(attention_distance(*maps)) == pytest.approx(total / (3 * 16), rel=1e-12)
    assert float(attention_distance(*maps, "sum")) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(("side", "weight"), [(32, 0.0076), (16, 0.031), (8, 0.122)])
def test_the_weight_of_the_sum_form_that_equals_the_codes_1000(drawn, side, weight):
    maps = [attention_map(drawn(128, 2, side, side, seed=seed)) for seed in (0, 1)]
    in_mean_form = 1000 * attention_distance(*maps)
    assert float(in_mean_form / attention_distance(*maps, "sum")) == pytest.approx(weight, rel=0.02)


def test_it_does_not_depend_on_scale_or_on_the_order_of_channels(drawn):
    features = drawn(2, 6, 3, 3)
    torch.testing.assert_close(attention_map(1e3 * features.flip(1)), attention_map(features))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zero_maps_and_half_precision(drawn, slope, dtype):
    features = torch.zeros(2, 3, 4, 4, dtype=dtype)
    # squares of these pass the largest float16
    features[1] = drawn(3, 4, 4, scale=3e3).to(dtype)
    found = attention_map(features)
    assert found.dtype == torch.float32
    assert found[0].abs().max() == 0
    torch.testing.assert_close(found, attention_map(features.double()).float(), rtol=1e-5, atol=1e-6)
    other = attention_map(drawn(2, 3, 4, 4, seed=1)).float()
    gradient = slope(lambda x: attention_distance(attention_map(x), other), features)
    assert gradient[0].abs().max() == 0
    assert gradient.isfinite().all()


def test_one_unit_of_scale_gets_the_true_gradient(drawn):
    features, other = drawn(2, 3, 2, 2).requires_grad_(), attention_map(drawn(2, 3, 2, 2, seed=1))
    assert torch.autograd.gradcheck(lambda x: attention_distance(attention_map(x), other), features)


def test_maps_of_two_sizes_are_refused_not_broadcast(drawn):
    with pytest.raises(LimbeckError, match=r"shape \[2, 16\], the teacher's \[2, 1\]"):
        attention_distance(attention_map(drawn(2, 3, 4, 4)), attention_map(drawn(2, 3, 1, 1)))
