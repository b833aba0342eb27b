"""Verdicts against scipy called by itself, against hand computation, and by simulation under the null."""

import math

import numpy as np
import pytest
from scipy import stats

from limbeck.studies.verdict import CAP, achieved, holm, judge, measure, seeds_needed


def draws(seed, *shape, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, shape)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_paired_numbers_are_those_of_the_t_test(seeds):
    first, second = draws(1, seeds, mean=0.4), draws(2, seeds)
    found = measure([first - second], 0.0)
    tested = stats.ttest_rel(first, second)
    interval = tested.confidence_interval()
    assert found.p == pytest.approx(tested.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx((first - second).mean() / (first - second).std(ddof=1))
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue)
    assert found.seeds == seeds


def test_a_paired_test_by_hand():
    found = measure([np.array([1.0, 2.0, 3.0])], 0.0)
    t = 2 * math.sqrt(3)  # mean 2, deviation 1
    # two degrees of freedom: P(|T| > t) = 1 - t / sqrt(t² + 2)
    assert found.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert found.mean == 2
    assert found.effect == 2
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert found.wilcoxon == pytest.approx(0.25)


def test_a_constant_shifts_what_is_tested():
    values = draws(3, 6)
    assert measure([values], -0.7).p == pytest.approx(stats.ttest_1samp(values, 0.7).pvalue)


def test_without_pairing_it_is_welchs():
    first, second = draws(4, 7), 3 * draws(5, 5)
    found = measure([first, -second], 0.0)
    tested = stats.ttest_ind(first, second, equal_var=False)
    interval = tested.confidence_interval()
    assert found.p == pytest.approx(tested.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.wilcoxon is None


def test_differences_without_spread_go_to_the_sign_test():
    same = measure([np.full(4, 0.125)], 0.0)
    assert (same.p, same.effect, same.spread) == (0.125, math.inf, False)
    assert same.wilcoxon == pytest.approx(0.125)
    assert measure([np.full(6, -0.1)], 0.0).effect == -math.inf
    nothing = measure([np.full(4, 0.1)], -0.1)
    assert (nothing.p, nothing.mean, nothing.effect, nothing.wilcoxon) == (1.0, 0.0, 0.0, 1.0)


def test_ties_are_counted_over_all_signs():
    values = np.array([1.0, 1.0, -1.0, 2.0, 3.0, 0.0])
    ranks = [2.0, 2.0, 2.0, 4.0, 5.0]
    observed = abs(2 + 2 - 2 + 4 + 5)
    hits = 0
    for signs in range(32):
        total = sum(rank if signs >> i & 1 else -rank for i, rank in enumerate(ranks))
        hits += abs(total) >= observed
    assert measure([values], 0.0).wilcoxon == pytest.approx(hits / 32)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_pending_claims_count_such_that_what_is_decided_stays_decided():
    assert holm([0.01, 0.04], 2) == pytest.approx([0.04, 0.12])
    generator = np.random.default_rng(1)
    for _ in range(300):
        p = generator.uniform(0, 0.1, 6) ** generator.integers(1, 4)
        there = generator.random(6) < 0.5
        before, after = np.ones(6), np.array(holm(list(p)))
        before[there] = holm(list(p[there]), int((~there).sum()))
        assert (after <= before + 1e-15).all()


def test_holm_is_never_below_the_one_before_and_never_above_bonferroni():
    for seed in range(20):
        p = np.random.default_rng(seed).uniform(0, 0.2, 7)
        corrected = np.array(holm(list(p)))
        assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
        assert (corrected <= np.minimum(1, 7 * p) + 1e-12).all()
        assert (corrected >= p).all()


def test_the_sign_says_which_way_a_claim_is_decided():
    below = measure([draws(6, 10, mean=-3)], 0.0)
    for_less, for_more = judge([below, below], [-1, 1], 0.05, 0.8)
    assert (for_less.decision, for_more.decision) == ("supported", "contradicted")
    assert for_less.needed is None
    assert for_less.corrected == pytest.approx(2 * below.p)


def test_what_was_not_measured_is_not_corrected_for():
    one = measure([draws(7, 8, mean=1.2)], 0.0)
    alone, _ = judge([one, None], [1, 1], 0.05, 0.8)
    assert alone.corrected == pytest.approx(one.p)


def simulated(means, seeds, times, significance=0.05):
    """Return how often at least one claim without a difference is decided."""
    wrong = 0
    for study in range(times):
        generator = np.random.default_rng([study, seeds])
        measured = [measure([generator.normal(mean, 1.0, seeds)], 0.0) for mean in means]
        verdicts = judge(measured, [-1] * len(means), significance, 0.8)
        wrong += any(v.decision != "undecided" for v, mean in zip(verdicts, means, strict=True) if mean == 0)
    return wrong / times


@pytest.mark.parametrize(("means", "seeds"), [([0.0], 3), ([0.0], 5), ([0.0] * 4, 5), ([0.0, 0.0, 3.0], 5)], ids=str)
def test_claims_without_a_difference_are_decided_no_more_often_than_said(means, seeds):
    times, level = 1000, 0.05
    slack = 3 * math.sqrt(level * (1 - level) / times)
    found = simulated(means, seeds, times)
    assert found <= level + slack
    assert found >= level / 4  # nor is the test asleep


def test_without_correction_it_would_be_more_often():
    wrong = 0
    for study in range(500):
        values = np.random.default_rng(study).normal(0, 1, (4, 5))
        wrong += (stats.ttest_1samp(values, 0.0, axis=1).pvalue <= 0.05).any()
    assert wrong / 500 > 0.12


@pytest.mark.parametrize(("effect", "level"), [(0.5, 0.05), (1.0, 0.05), (1.0, 0.01), (2.5, 0.0125)])
def test_so_many_seeds_have_the_power(effect, level):
    seeds = seeds_needed(effect, level, 0.8)
    assert achieved(effect, seeds, level) >= 0.8 > achieved(effect, seeds - 1, level)
    values = np.random.default_rng(0).normal(effect, 1.0, (20_000, seeds))
    tested = stats.ttest_1samp(values, 0.0, axis=1)
    power = ((tested.pvalue <= level) & (tested.statistic > 0)).mean()
    assert power == pytest.approx(achieved(effect, seeds, level), abs=0.01)
    critical = stats.t.isf(level / 2, seeds - 1)
    noncentral = stats.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds))
    assert achieved(effect, seeds, level) == pytest.approx(noncentral, rel=1e-6)


def test_seeds_needed_at_the_ends():
    assert seeds_needed(0.5, 0.05, 0.8) == 34  # tables of the paired t-test
    assert seeds_needed(-0.5, 0.05, 0.8) == 34
    assert seeds_needed(0.0, 0.05, 0.8) == CAP + 1
    assert seeds_needed(1e-3, 0.05, 0.8) == CAP + 1
    assert seeds_needed(1e6, 0.05, 0.8) == 2
    assert seeds_needed(math.inf, 0.05, 0.8) == 6  # 2 · 2^-6 <= 0.05
    counts = [seeds_needed(effect, 0.01, 0.8) for effect in np.geomspace(0.1, 500, 60)]
    assert counts == sorted(counts, reverse=True)


def test_an_undecided_claim_says_how_many_more():
    values = np.array([0.3, 1.5, -0.4])
    (verdict,) = judge([measure([values], 0.0)], [1], 0.05, 0.8)
    assert verdict.decision == "undecided"
    assert verdict.needed == seeds_needed(values.mean() / values.std(ddof=1), 0.05, 0.8) - 3
    (verdict,) = judge([measure([np.zeros(3)], 0.0)], [1], 0.05, 0.8)
    assert (verdict.why, verdict.needed) == ("no seed makes any difference", CAP + 1)
