"""Wrong answers under noise: plain loops, the same noise for every network, nothing clipped."""

import math

import pytest
import torch

from limbeck.analysis.noise import wrong_under_noise
from limbeck.data import draws as numbers

IMAGES, CHANNELS, SIDE, CLASSES = 23, 2, 3, 4
STD = (0.5, 0.25)
DEVIATIONS = (0.0, 0.05, 0.3)


def linear(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(CHANNELS * SIDE * SIDE, CLASSES, generator=generator)
    return weights, lambda view: view.flatten(1) @ weights


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(7)
    view = torch.randn(IMAGES, CHANNELS, SIDE, SIDE, generator=generator)
    return view, torch.randint(CLASSES, (IMAGES,), generator=generator)


def noise(draw):
    return numbers.normal(5, draw, 0, torch.arange(IMAGES), CHANNELS * SIDE * SIDE).view(-1, CHANNELS, SIDE, SIDE)


def naive(weights, view, labels, draw, deviation):
    """Count the wrong answers of each network and of the mean of their probabilities, image by image, by the book."""
    wrong = [0] * (len(weights) + 1)
    for image in range(IMAGES):
        pixels = []
        for channel in range(CHANNELS):
            for row in range(SIDE):
                for column in range(SIDE):
                    # of the image in [0, 1], whatever its mean
                    raw = float(view[image, channel, row, column]) * STD[channel]
                    raw += deviation * float(noise(draw)[image, channel, row, column])
                    pixels.append(raw / STD[channel])
        mean = [0.0] * CLASSES
        for i, matrix in enumerate(weights):
            logits = [math.fsum(p * float(matrix[j, k]) for j, p in enumerate(pixels)) for k in range(CLASSES)]
            powers = [math.exp(z - max(logits)) for z in logits]
            mean = [m + power / math.fsum(powers) for m, power in zip(mean, powers, strict=True)]
            wrong[i] += logits.index(max(logits)) != int(labels[image])
        wrong[-1] += mean.index(max(mean)) != int(labels[image])
    return wrong


def test_it_counts_as_plain_loops_do(batch):
    view, labels = batch
    weights, networks = zip(*(linear(seed) for seed in range(3)), strict=True)
    found = wrong_under_noise([networks], view, labels, noise, 2, DEVIATIONS, STD)
    assert found.shape == (4, 3, 2)
    for i, deviation in enumerate(DEVIATIONS):
        for draw in range(2):
            assert found[:, i, draw].tolist() == naive(weights, view, labels, draw, deviation)
    assert len({tuple(row) for row in found[:, :, 0].tolist()}) > 1
    assert found[:, 2, 0].tolist() != found[:, 2, 1].tolist()


def test_the_networks_beside_it_do_not_change_a_count(batch):
    view, labels = batch
    networks = [linear(seed)[1] for seed in range(3)]
    pair = wrong_under_noise([networks[:2], networks[2:]], view, labels, noise, 2, DEVIATIONS, STD)
    assert len(pair) == 4
    for line, network in {0: networks[0], 1: networks[1], 3: networks[2]}.items():
        alone = wrong_under_noise([[network]], view, labels, noise, 2, DEVIATIONS, STD)
        assert torch.equal(alone[0], pair[line])


def test_pixels_leave_the_unit_interval_unclipped_and_no_noise_is_asked_once():
    seen = []

    def network(view):
        seen.append(view)
        return torch.zeros(len(view), CLASSES)

    # black and white pixels of mean 0 and deviation 1: normalised they are themselves
    view = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
    plus = torch.ones_like(view)
    wrong_under_noise([[network]], view, torch.tensor([0]), lambda draw: plus * (-1) ** draw, 3, (0.0, 0.5), (1.0, 1.0))
    assert [image.flatten().tolist() for image in seen] == [[0, 1], [0.5, 1.5], [-0.5, 0.5], [0.5, 1.5]]
