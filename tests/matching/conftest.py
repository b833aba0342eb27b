"""Features to match, and the papers' unit vectors by plain loops in float64."""

import math

import pytest
import torch


@pytest.fixture
def drawn():
    """Return a function that draws features of a shape, float64, also negative."""

    def draw(*shape, seed=0, scale=1.0):
        return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return draw


@pytest.fixture
def naive_unit():
    """Return a function that scales a list of numbers to unit length."""

    def unit(row):
        length = math.sqrt(math.fsum(x * x for x in row))
        return [x / length for x in row]

    return unit


@pytest.fixture
def naive_map(naive_unit):
    """Return a function that makes AT's map [H·W] of one example's features [C][H][W]."""

    def attention(example):
        channels, height, width = len(example), len(example[0]), len(example[0][0])
        means = [
            math.fsum(example[c][i][j] ** 2 for c in range(channels)) / channels
            for i in range(height)
            for j in range(width)
        ]
        return naive_unit(means)

    return attention


@pytest.fixture
def slope():
    """Return a function that gives a loss's gradient by a tensor."""

    def gradient(loss, at):
        at = at.detach().clone().requires_grad_()
        loss(at).backward()
        return at.grad

    return gradient
