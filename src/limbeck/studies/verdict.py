"""Verdicts: what runs from several seeds say of a claim, and how sure that is.

A claim is one number a seed, D = Σ weight · figure + constant, and asks on which side of zero its mean lies.

- Paired by seed: Student's t on D. With pairing "none": the same with each cell's own variance over its own runs (Welch
  and Satterthwaite), which for one sample is Student's.
- Two-sided. Corrected by Holm's step-down over the claims of the study, so that the chance of one decided claim, where
  no difference is real, is at most the study's significance. Decided with the claimed sign: supported; with the other:
  contradicted.
- Effect size: d_z, the mean of D in units of its standard deviation over the seeds.
- Seeds needed: at which the observed effect would be decided with the study's power, by the noncentral t, at the level
  that Holm leaves the claim. The observed effect is itself uncertain, most so with few seeds.
- Differences without any spread leave the t-test nothing; the exact sign test takes its place.

Sources: Holm, Scand. J. Statist. 6 (1979); Welch, Biometrika 34 (1947); Cohen, Statistical Power Analysis (1988).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy import special, stats

Decision = Literal["supported", "contradicted", "undecided"]
CAP = 1000
ENUMERATED = 14
# differences of float64 sums that should be equal differ by less
_ROUNDING = 1e-12


class Measured(NamedTuple):
    """What the seeds say of D, before any correction.

    Attributes:
        mean: of D, in the figure's own unit.
        low: end of the 95 % confidence interval (or of another level), not corrected.
        high: its other end.
        effect: d_z; infinite without spread, 0 where every D is 0.
        p: two-sided.
        seeds: how many runs each cell has.
        wilcoxon: p of the exact signed-rank test on the same differences; None without pairing.
        spread: whether there is any.
    """

    mean: float
    low: float
    high: float
    effect: float
    p: float
    seeds: int
    wilcoxon: float | None
    spread: bool


@dataclass(frozen=True)
class Verdict:
    """What becomes of a claim.

    Attributes:
        decision: the verdict.
        why: in words, where it is undecided for another reason than the numbers, or decided in a way to know of.
        measured: the numbers; None where no test was made.
        corrected: p after Holm's correction.
        needed: further seeds that would decide it; `CAP` + 1 stands for more than `CAP` in all; None where decided.
    """

    decision: Decision
    why: str = ""
    measured: Measured | None = None
    corrected: float | None = None
    needed: int | None = None


def measure(
    samples: Sequence[Float64[np.ndarray, " _"]], constant: float, level: float = 0.95, scale: float = 0.0
) -> Measured:
    """Return what independent samples say of the sum of their means plus a constant.

    Args:
        samples: one of D, or one of each cell's weighted figures where they are not paired; at least two values each.
        constant: added to the sum of the means.
        level: of the confidence interval.
        scale: of the figures of which the samples are made; what is smaller than their rounding is no spread.
    """
    counts = np.array([len(sample) for sample in samples])
    mean = float(sum(sample.mean() for sample in samples)) + constant
    variances = np.array([sample.var(ddof=1) for sample in samples])
    scale = max(1e-300, scale, *(float(np.abs(sample).max()) for sample in samples), abs(constant))
    wilcoxon = _wilcoxon(samples[0] + constant, _ROUNDING * scale) if len(samples) == 1 else None
    if math.sqrt(variances.sum()) <= _ROUNDING * scale:
        seeds = int(counts.min())
        nothing = abs(mean) <= _ROUNDING * scale
        p = 1.0 if nothing or len(samples) > 1 else min(1.0, 2.0 ** (1 - seeds))
        mean = 0.0 if nothing else mean
        return Measured(mean, mean, mean, 0.0 if nothing else math.copysign(math.inf, mean), p, seeds, wilcoxon, False)
    error = math.sqrt(float((variances / counts).sum()))
    freedom = _freedom(variances, counts)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, freedom))
    effect = mean / math.sqrt(float(variances.sum()))
    return Measured(mean, mean - half, mean + half, effect, p, int(counts.min()), wilcoxon, True)


def _freedom(variances: Float64[np.ndarray, " samples"], counts: np.ndarray) -> float:
    """Return Satterthwaite's degrees of freedom; n - 1 for one sample."""
    parts = variances / counts
    return float(parts.sum() ** 2 / (parts**2 / (counts - 1)).sum())


def _wilcoxon(differences: Float64[np.ndarray, " seeds"], rounding: float) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test, without zeros: over all signs, or as scipy does."""
    # what is equal up to rounding has equal ranks
    differences = np.round(differences / rounding) * rounding
    kept = differences[differences != 0]
    if not len(kept):
        return 1.0
    if len(kept) > ENUMERATED:
        return float(stats.wilcoxon(kept, method="auto").pvalue)
    ranks = stats.rankdata(np.abs(kept))
    signs = 1 - 2 * ((np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))) & 1)
    observed = abs(float((ranks * np.sign(kept)).sum()))
    return float((np.abs(signs @ ranks) >= observed - 1e-9).mean())


def holm(values: Sequence[float], pending: int = 0) -> list[float]:
    """Return Holm's corrected p-values: the i-th smallest of m times m - i + 1, never below the one before.

    Args:
        values: p-values.
        pending: further ones that are not known yet. They count as the largest: whatever they turn out to be, none of
            the values returned grows by them.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, (len(values) + pending - rank) * values[at]))
        corrected[at] = largest
    return corrected


def judge(
    measured: Sequence[Measured | None],
    signs: Sequence[Literal[-1, 1]],
    significance: float,
    power: float,
    pending: int = 0,
) -> list[Verdict]:
    """Return the verdicts on claims; None is a claim of which nothing was measured, not corrected for unless pending.

    Args:
        measured: of each claim.
        signs: the sign of D that each claims.
        significance: the chance of any decided claim, where no difference is real.
        power: for which further seeds are reckoned.
        pending: how many of those of which nothing was measured are still to be, and are corrected for.
    """
    there = [one for one in measured if one is not None]
    corrected = holm([one.p for one in there], pending)
    ranks = np.argsort(np.argsort([one.p for one in there], kind="stable"), kind="stable")
    found = iter(zip(there, corrected, ranks, strict=True))
    verdicts = []
    for one, sign in zip(measured, signs, strict=True):
        if one is None:
            verdicts.append(Verdict("undecided"))
            continue
        _, p, rank = next(found)
        level = significance / (len(there) + pending - int(rank))
        verdicts.append(_verdict(one, sign, p, significance, level, power))
    return verdicts


def _verdict(
    one: Measured, sign: Literal[-1, 1], corrected: float, significance: float, level: float, power: float
) -> Verdict:
    why = "" if one.spread else "the seeds differ by nothing: the sign test stands in for the t-test"
    if not one.spread and one.wilcoxon is None:
        why = "the seeds differ by nothing, and figures that are not paired have no test then"
        return Verdict("undecided", why, one, corrected, CAP + 1)
    if corrected <= significance:
        return Verdict("supported" if one.mean * sign > 0 else "contradicted", why, one, corrected)
    if not one.spread and one.mean == 0:
        return Verdict("undecided", "no seed makes any difference", one, corrected, CAP + 1)
    needed = seeds_needed(one.effect, level, power)
    return Verdict("undecided", why, one, corrected, CAP + 1 if needed > CAP else max(1, needed - one.seeds))


def seeds_needed(effect: float, level: float, power: float) -> int:
    """Return how many seeds decide an effect d_z with this power: the smallest n for which the t-test does.

    The t-test is two-sided at `level`; its power counts the observed side only. Returns `CAP` + 1 for more than `CAP`.
    """
    if math.isinf(effect):
        return 1 + math.ceil(-math.log2(level))  # the sign test: 2^(1 - n) <= level
    if achieved(effect, CAP, level) < power:
        return CAP + 1
    low, high = 1, 2
    while achieved(effect, high, level) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if achieved(effect, middle, level) >= power else (middle, high)
    return high


def achieved(effect: float, seeds: int, level: float) -> float:
    """Return the chance that a two-sided t-test of so many seeds decides for the side of an effect d_z."""
    critical = float(special.stdtrit(seeds - 1, 1 - level / 2))
    shift = abs(effect) * math.sqrt(seeds)
    if shift - critical > 30:  # certain, and beyond what the noncentral t is computed for
        return 1.0
    return 1.0 - float(special.nctdtr(seeds - 1, shift, critical))
