"""Tests over the test examples: would another test set of this kind say the same of these very networks?

The tests over seeds ask whether other trainings would; here the trained networks are held fixed, and the examples are
what is drawn. Both can say no for reasons of their own.

- Bootstrap: the mean of D over examples (each averaged over the seeds), resampled with replacement; percentiles.
- McNemar, exact, where a claim compares the error of two cells: seed by seed, for the runs of one seed share all but
  the method, and runs of several seeds are no independent looks at one test set.

Source: McNemar, Psychometrika 12 (1947); Efron & Tibshirani, An Introduction to the Bootstrap (1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy import special, stats

from limbeck.plain import of_another_task
from limbeck.studies.claims import Claim, Figure
from limbeck.tasks.classification import Predictions
from limbeck.train.predictions import read_predictions

# the figures that are means over examples
MEANS = ("error", "nll", "brier")
RESAMPLES = 5000
# at once, so that large test sets stay in memory
_BLOCK = 5_000_000


class McNemar(NamedTuple):
    """Two networks on the same examples.

    Attributes:
        first: examples that only the claim's first figure gets wrong.
        second: those that only the other gets wrong.
        p: two-sided, of the exact test.
    """

    first: int
    second: int
    p: float


class OverExamples(NamedTuple):
    """What the test examples say of a claim.

    Attributes:
        low: end of the 95 % interval of D by the bootstrap.
        high: its other end.
        mcnemar: by seed; empty where the claim does not compare two errors.
    """

    low: float
    high: float
    mcnemar: dict[int, McNemar]


def losses(metric: str, said: Predictions) -> Float64[np.ndarray, " examples"]:
    """Return what each example adds to a figure that is a mean over them: "error", "nll" or "brier"."""
    logits = said.logits.astype(np.float64)
    rows = np.arange(len(said.labels))
    if metric == "error":
        return np.asarray(logits.argmax(1) != said.labels, dtype=np.float64)
    if metric == "nll":
        return np.asarray(special.logsumexp(logits, axis=1) - logits[rows, said.labels])
    probabilities = special.softmax(logits, axis=1)
    probabilities[rows, said.labels] -= 1.0
    return np.asarray((probabilities**2).sum(1))


def over_examples(claim: Claim, folders: Mapping[str, Mapping[int, Path]], seeds: Sequence[int]) -> OverExamples | None:
    """Return what the examples say, or None where a figure is no mean over them or the runs have other test sets.

    Args:
        claim: it.
        folders: of the finished runs, by cell and seed.
        seeds: of which each cell has a run.

    Raises:
        LimbeckError: a run's predictions are missing or damaged.
    """
    if not set(claim.metrics) <= set(MEANS):
        return None
    # tokens of a sentence are not drawn independently
    if any(of_another_task(folders[figure.cell][seed]) for figure in claim.weights for seed in seeds):
        return None
    parts: dict[Figure, list[Float64[np.ndarray, " examples"]]] = {figure: [] for figure in claim.weights}
    first = None
    for figure in claim.weights:
        for seed in seeds:
            said = read_predictions(folders[figure.cell][seed], figure.student or "student", figure.which)
            first = said if first is None else first
            if not np.array_equal(first.ids, said.ids) or not np.array_equal(first.labels, said.labels):
                return None
            parts[figure].append(losses(figure.metric, said))
    differences = sum(
        (weight * np.mean(parts[figure], axis=0) for figure, weight in claim.weights.items()),
        np.zeros(0 if first is None else len(first.ids)),
    )
    low, high = bootstrap(differences + claim.constant)
    return OverExamples(low, high, _mcnemars(claim, parts, seeds))


def bootstrap(values: Float64[np.ndarray, " examples"], resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean, over resamples drawn from a fixed seed."""
    generator = np.random.default_rng(0)
    count = len(values)
    rows = max(1, _BLOCK // count)
    means = [
        values[generator.integers(0, count, (min(rows, resamples - start), count))].mean(1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _mcnemars(
    claim: Claim, parts: Mapping[Figure, Sequence[Float64[np.ndarray, " examples"]]], seeds: Sequence[int]
) -> dict[int, McNemar]:
    if sorted(claim.weights.values()) != [-1.0, 1.0] or claim.constant or claim.metrics != ["error"]:
        return {}
    (_, first), (_, second) = sorted(parts.items(), key=lambda part: -claim.weights[part[0]])
    return {seed: mcnemar(one, other) for seed, one, other in zip(seeds, first, second, strict=True)}


def mcnemar(first: Float64[np.ndarray, " examples"], second: Float64[np.ndarray, " examples"]) -> McNemar:
    """Return the exact test of two networks' mistakes, 1 where wrong and 0 where right, on the same examples."""
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p)
