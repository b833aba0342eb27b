"""FT's factors and their distances."""

import math

import pytest
import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.matching import collapsed_factor, factor_distance
from limbeck.matching.factors import factor


def naive(naive_unit, student, teacher, distance, form):
    rows = [
        (naive_unit(a.flatten().tolist()), naive_unit(b.flatten().tolist()))
        for a, b in zip(student, teacher, strict=True)
    ]
    gaps = [[a - b for a, b in zip(u, v, strict=True)] for u, v in rows]
    size = len(gaps[0])
    if distance == "cosine":
        return sum(1 - sum(a * b for a, b in zip(u, v, strict=True)) for u, v in rows) / len(rows)
    if distance == "l1":
        per_example = [sum(map(abs, gap)) for gap in gaps]
        return sum(per_example) / len(rows) / (size if form == "mean" else math.sqrt(size))
    if form == "mean":
        return math.sqrt(sum(d * d for gap in gaps for d in gap) / (len(rows) * size))
    return sum(math.sqrt(sum(d * d for d in gap)) for gap in gaps) / len(rows)


@pytest.mark.parametrize("form", ["mean", "size_free"])
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_distances_are_what_plain_loops_say(drawn, naive_unit, distance, form):
    student, teacher = drawn(3, 4, 2, 5), drawn(3, 4, 2, 5, seed=1)
    found = factor_distance(factor(student), factor(teacher), distance, form)
    assert float(found) == pytest.approx(naive(naive_unit, student, teacher, distance, form), rel=1e-12)


def test_l1_of_factors_is_the_authors_loss(drawn):
    student, teacher = drawn(4, 6, 3, 3), drawn(4, 6, 3, 3, seed=1)
    units = [nn.functional.normalize(features.reshape(4, -1)) for features in (student, teacher)]
    assert float(factor_distance(factor(student), factor(teacher))) == pytest.approx(float(nn.L1Loss()(*units)))


def test_the_benchmarks_factor_has_no_channels(drawn, naive_map):
    features = drawn(3, 4, 2, 5)
    expected = torch.tensor([naive_map(example) for example in features.tolist()], dtype=torch.float64)
    torch.testing.assert_close(collapsed_factor(features), expected)


@pytest.mark.parametrize("form", ["mean", "size_free"])
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
@pytest.mark.parametrize("teacher", ["equal", "zero", "half equal"])
def test_equal_and_zero_factors_give_no_nan(drawn, slope, distance, form, teacher):
    features = drawn(2, 3, 4, 4)
    other = {"equal": features, "zero": 0 * features, "half equal": torch.cat([features[:1], -features[1:]])}[teacher]
    gradient = slope(lambda x: factor_distance(x, factor(other), distance, form), factor(features))
    assert gradient.isfinite().all()
    if teacher == "equal" and distance != "cosine":
        assert gradient.abs().max() == 0
    whole = slope(lambda x: factor_distance(factor(x), factor(other), distance, form), features)
    if teacher == "equal":
        assert whole.abs().max() < 1e-12
    dead = slope(lambda x: factor_distance(factor(x), factor(features), distance, form), 0 * features)
    assert whole.isfinite().all()
    assert dead.isfinite().all()


@pytest.mark.parametrize(("distance", "largest"), [("l1", 2.0), ("l2", 2.0), ("cosine", 2.0)])
@pytest.mark.parametrize("size", [4, 1024])
def test_the_size_free_form_has_one_range_at_every_size(distance, largest, size):
    factors = factor(torch.ones(3, size, 1, 1, dtype=torch.float64))
    assert float(factor_distance(factors, -factors, distance, "size_free")) == pytest.approx(largest)
    in_mean_form = {"l1": largest / math.sqrt(size), "l2": largest / math.sqrt(size), "cosine": largest}
    assert float(factor_distance(factors, -factors, distance)) == pytest.approx(in_mean_form[distance])


def test_the_mean_forms_bound_at_the_papers_size():
    factors = factor(torch.ones(1, 32, 8, 8))
    assert float(factor_distance(factors, -factors)) == pytest.approx(0.0442, abs=5e-5)


def test_half_precision_is_summed_in_float32(drawn):
    features = drawn(2, 64, 8, 8, scale=300).half()
    assert factor(features).dtype == torch.float32
    torch.testing.assert_close(factor(features), factor(features.double()).float())


def test_sizes_that_differ_are_refused(drawn):
    with pytest.raises(LimbeckError, match=r"\[2, 48\], the teacher's \[2, 32\]: match layers of one size"):
        factor_distance(factor(drawn(2, 3, 4, 4)), factor(drawn(2, 2, 4, 4)))
