"""Inheritance and exploration: the split, the two terms and their bounds."""

import math

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.matching import (
    attention_distance,
    attention_map,
    explore_overhaul,
    factor_distance,
    factor_exploration,
    margin_relu,
    natural_split,
    partial_l2,
    random_split,
)
from limbeck.matching.factors import factor

FORMS = [(distance, form) for distance in ("l1", "l2", "cosine") for form in ("mean", "size_free")]


def test_the_natural_split_is_the_first_and_the_second_half():
    split = natural_split(6)
    assert split.inherit.tolist() == [0, 1, 2]
    assert split.explore.tolist() == [3, 4, 5]
    assert len(natural_split(7).inherit) == 3


@pytest.mark.parametrize("make", [natural_split, random_split])
@pytest.mark.parametrize(
    ("channels", "ratio", "inherits"), [(64, 0.25, 16), (100, 0.29, 29), (10, 0.99, 9), (5, 0.0, 0)]
)
def test_a_split_has_every_channel_once(make, channels, ratio, inherits):
    split = make(channels, ratio)
    assert len(split.inherit) == inherits
    assert sorted(split.inherit.tolist() + split.explore.tolist()) == list(range(channels))
    assert split.inherit.tolist() == sorted(split.inherit.tolist())


def test_a_random_split_depends_on_its_seed_alone():
    state = torch.random.get_rng_state()
    assert torch.equal(random_split(64, seed=3).inherit, random_split(64, seed=3).inherit)
    assert not torch.equal(random_split(64, seed=3).inherit, random_split(64, seed=4).inherit)
    assert not torch.equal(random_split(64).inherit, natural_split(64).inherit)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("channels", "ratio", "reason"),
    [
        (8, 1.5, r"is 1\.5 but must lie in \[0, 1\]"),
        (8, -0.1, "must lie in"),
        (8, 0.1, r"a ratio of 0\.1 leaves one part of 8 channels empty"),
        (1, 0.5, "one channel cannot be split"),
    ],
)
def test_a_useless_ratio_is_refused(channels, ratio, reason):
    with pytest.raises(LimbeckError, match=reason):
        natural_split(channels, ratio)


def test_ratio_one_leaves_nothing_to_explore():
    assert len(natural_split(8, 1.0).explore) == 0


def test_the_terms_are_what_plain_loops_say(drawn, naive_unit):
    student, teacher = drawn(3, 4, 2, 2), drawn(3, 4, 2, 2, seed=1)
    units = [[naive_unit(example.flatten().tolist()) for example in features] for features in (student, teacher)]
    rows = list(zip(*units, strict=True))
    cosine = [sum(a * b for a, b in zip(u, v, strict=True)) for u, v in rows]
    absolute = sum(abs(a - b) for u, v in rows for a, b in zip(u, v, strict=True)) / (3 * 16)
    squared = math.sqrt(sum((a - b) ** 2 for u, v in rows for a, b in zip(u, v, strict=True)) / (3 * 16))
    factors = factor(student), factor(teacher)
    expected = {
        (factor_distance, "l1"): absolute,
        (factor_exploration, "l1"): -absolute,
        (factor_distance, "l2"): squared,
        (factor_exploration, "l2"): -squared,
        (factor_distance, "cosine"): sum(1 - c for c in cosine) / 3,
        (factor_exploration, "cosine"): sum(map(abs, cosine)) / 3,
    }
    for (term, distance), value in expected.items():
        assert float(term(*factors, distance)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("distance", "form"), FORMS)
def test_exploring_falls_to_its_bound_and_no_further(drawn, distance, form):
    """Gradient descent on the exploration alone, from far away."""
    teacher = factor(drawn(2, 3, 2, 2))
    student = drawn(2, 3, 2, 2, seed=1).requires_grad_()
    bound = {"mean": -2 / math.sqrt(12), "size_free": -2.0}[form] if distance != "cosine" else 0.0
    optimiser = torch.optim.SGD([student], 1.0)
    values = []
    for _ in range(400):
        optimiser.zero_grad()
        loss = factor_exploration(factor(student), teacher, distance, form)
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert min(values) >= bound - 1e-12
    assert values[-1] < values[0]
    # l1 peaks away from -u, where all gaps are alike; the others reach their bound
    assert min(values) == pytest.approx(bound, abs=0.02 if distance != "l1" else abs(bound) / 4)


def test_with_cosine_the_opposite_is_the_worst_and_with_l2_the_best(drawn):
    factors = factor(drawn(2, 3, 2, 2))
    assert float(factor_exploration(-factors, factors, "cosine")) == pytest.approx(1.0)
    assert float(factor_exploration(-factors, factors, "l2", "size_free")) == pytest.approx(-2.0)


@pytest.mark.parametrize(("distance", "form"), FORMS)
@pytest.mark.parametrize("term", [factor_distance, factor_exploration])
def test_no_nan_at_equal_or_dead_factors(drawn, slope, term, distance, form):
    features = drawn(2, 3, 2, 2)
    for student in (features, 0 * features, -features):
        found = slope(lambda x: term(factor(x), factor(features), distance, form), student)
        assert found.isfinite().all()


def test_attention_maps_explore_within_their_bound(drawn):
    maps = [attention_map(drawn(4, 3, 4, 4, seed=seed)) for seed in (0, 1)]
    assert 0 > -float(attention_distance(*maps, "sum")) >= -2 * 4


def test_exploring_by_partial_l2_is_what_plain_loops_say(drawn, naive_unit):
    student, teacher = drawn(3, 4, 2, 2), margin_relu(drawn(3, 4, 2, 2, seed=1), torch.full((4,), -0.4).double())
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        wanted = other.flatten().tolist()
        length = math.sqrt(sum(t * t for t in wanted))
        for s, t in zip(naive_unit(one.flatten().tolist()), wanted, strict=True):
            total += (length * s - t) ** 2 if length * s > t or t > 0 else 0.0
    assert float(explore_overhaul(student, teacher)) == pytest.approx(-total / 3, rel=1e-12)


def test_exploring_by_partial_l2_is_bounded_where_the_plain_sum_is_not(drawn, slope):
    teacher = margin_relu(drawn(3, 4, 2, 2).abs(), torch.zeros(4).double())
    bound = -4 * float(teacher.square().sum()) / 3
    for scale in (1.0, 1e3, 1e6):
        student = -scale * teacher
        assert float(explore_overhaul(student, teacher)) == pytest.approx(bound)
        assert float(partial_l2(student, teacher)) > scale**2
    for student in (0 * teacher, teacher, -teacher):
        assert slope(lambda x: explore_overhaul(x, teacher), student).isfinite().all()
