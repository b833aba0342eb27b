"""Which examples show how sure two networks are: those that both get wrong, those that look like several classes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64


def probabilities(logits: Float[np.ndarray, "examples classes"]) -> Float64[np.ndarray, "examples classes"]:
    """Return softmax(logits), in float64."""
    raised = logits.astype(np.float64)
    powers = np.exp(raised - raised.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def both_wrong(
    first: Float[np.ndarray, "examples classes"],
    second: Float[np.ndarray, "examples classes"],
    labels: Int64[np.ndarray, " examples"],
    count: int,
) -> Int64[np.ndarray, " chosen"]:
    """Return where the answers of both are wrong, the surest first; of equally sure ones, the earlier.

    How sure is the mean of both networks' largest probability.

    Args:
        first: one network's probabilities.
        second: the other's.
        labels: the true classes.
        count: at most so many.
    """
    wrong = np.flatnonzero((first.argmax(axis=1) != labels) & (second.argmax(axis=1) != labels))
    sure = (first[wrong].max(axis=1) + second[wrong].max(axis=1)) / 2
    return wrong[np.argsort(-sure, kind="stable")][:count]


def most_uncertain(probs: Float[np.ndarray, "examples classes"], count: int) -> Int64[np.ndarray, " chosen"]:
    """Return the examples whose predictive entropy is highest, the highest first; of equal ones, the earlier.

    Args:
        probs: probabilities.
        count: at most so many.
    """
    logs = np.log(probs, out=np.zeros(probs.shape, dtype=np.float64), where=probs > 0)
    entropy = -(probs * logs).sum(axis=1)
    return np.argsort(-entropy, kind="stable")[:count]


def top(row: Float[np.ndarray, " classes"], count: int) -> Int64[np.ndarray, " chosen"]:
    """Return the classes of the largest probabilities, the largest first; of equal ones, the lower."""
    return np.argsort(-row, kind="stable")[:count]
