"""Plain loops in float64, written from the papers' formulas, and what the tests feed to both sides."""

import math

import torch

from limbeck.core import Batch

SCALES = [1.0, 30.0, 1e4]  # ordinary, saturated and extreme logits


def log_softmax(row, temperature=1.0):
    scaled = [value / temperature for value in row]
    top = max(scaled)
    norm = top + math.log(sum(math.exp(value - top) for value in scaled))
    return [value - norm for value in scaled]


def softmax(row, temperature=1.0):
    return [math.exp(value) for value in log_softmax(row, temperature)]


def cross_entropy(q, row, temperature=1.0):
    return -sum(a * b for a, b in zip(q, log_softmax(row, temperature), strict=True))


def one_hot(label, classes):
    return [1.0 if k == label else 0.0 for k in range(classes)]


class Fixed(torch.nn.Module):
    """A network that says what it is told to."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, view):
        return self.logits[: len(view)]


def batch(labels, mix=None):
    return Batch(torch.arange(len(labels)), (torch.zeros(len(labels), 1, 1, 1),), torch.tensor(labels), mix)


def draw(seed, rows, classes, scale):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
