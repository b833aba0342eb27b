"""Naive float64 oracles, written from the definitions with Python loops; and the golden data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest


class Answers(NamedTuple):
    logits: np.ndarray
    probs: np.ndarray
    labels: np.ndarray


class Oracle:
    @staticmethod
    def softmax(logits):
        rows = []
        for row in logits.tolist():
            weights = [math.exp(z - max(row)) for z in row]
            rows.append([w / math.fsum(weights) for w in weights])
        return np.array(rows)

    @staticmethod
    def accuracy(scores, labels, top=1):
        right = 0
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
            ranking = sorted(range(len(row)), key=lambda k, row=row: (-row[k], k))
            right += label in ranking[:top]
        return right / len(labels)

    @staticmethod
    def nll(logits, labels):
        losses = []
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
            top = max(row)
            losses.append(math.log(math.fsum(math.exp(z - top) for z in row)) + (top - row[label]))
        return math.fsum(losses) / len(losses)

    @staticmethod
    def brier(probs, labels):
        distances = []
        for row, label in zip(probs.tolist(), labels.tolist(), strict=True):
            distances += [(p - (k == label)) ** 2 for k, p in enumerate(row)]
        return math.fsum(distances) / len(labels)

    @staticmethod
    def ece(probs, labels, bins):
        error = 0.0
        for b in range(bins):
            sure, right = [], []
            for row, label in zip(probs.tolist(), labels.tolist(), strict=True):
                confidence = max(row)
                below = confidence <= b / bins and b > 0
                above = confidence > (b + 1) / bins and b < bins - 1
                if not below and not above:
                    sure.append(confidence)
                    right.append(row.index(confidence) == label)
            if sure:
                gap = abs(sum(right) / len(right) - math.fsum(sure) / len(sure))
                error += len(sure) / len(labels) * gap
        return error

    @staticmethod
    def risks(correct: Sequence[bool]) -> list[float]:
        wrong, risks = 0, []
        for answered, right in enumerate(correct, start=1):
            wrong += not right
            risks.append(wrong / answered)
        return risks

    @classmethod
    def aurc(cls, confidence, correct):
        """The mean over every order that puts no example before a surer one; for a handful of examples."""
        areas = []
        for order in itertools.permutations(range(len(confidence))):
            if all(confidence[i] >= confidence[j] for i, j in itertools.pairwise(order)):
                risks = cls.risks([correct[i] for i in order])
                areas.append(math.fsum(risks) / len(risks))
        return math.fsum(areas) / len(areas)

    @classmethod
    def best_aurc(cls, correct):
        """The smallest area over all orders; for a handful of examples."""
        return min(math.fsum(cls.risks(o)) / len(correct) for o in itertools.permutations(correct))

    @classmethod
    def temperature(cls, logits, labels):
        """Golden-section search for log T in the NLL itself."""
        low, high, golden = math.log(1e-2), math.log(1e6), (math.sqrt(5) - 1) / 2
        for _ in range(80):
            left, right = high - golden * (high - low), low + golden * (high - low)
            if cls.nll(logits / math.exp(left), labels) < cls.nll(logits / math.exp(right), labels):
                high = right
            else:
                low = left
        return math.exp((low + high) / 2)


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture(scope="session")
def golden() -> Answers:
    """2000 answers among 10 classes whose labels are surer than the probabilities say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 10)) * 2
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    sharp = probs**1.5
    sharp /= sharp.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(10, p=row) for row in sharp])
    return Answers(logits, probs, labels)


@pytest.fixture(scope="session")
def few(golden: Answers) -> Answers:
    """The first 60 of the golden answers."""
    return Answers(*(part[:60] for part in golden))


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walk over the input three rows at a time, so that block borders are everywhere."""
    monkeypatch.setattr("limbeck.metrics.inputs._BLOCK_ELEMENTS", 48)
