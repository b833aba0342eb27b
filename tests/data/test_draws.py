import itertools
import random

import numpy as np
import pytest
import torch
from scipy import stats

from limbeck.data import draws

IDS = torch.arange(20_000)
MASK = (1 << 64) - 1


def splitmix(bits):
    """The published finaliser, in Python's integers."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def word(seed, epoch, view, example, stream):
    key = 0
    for part in (seed, epoch, view, stream):
        key = splitmix((key + 0x9E3779B97F4A7C15 * (part + 1)) & MASK)
    return splitmix((key + 0x9E3779B97F4A7C15 * example) & MASK)


@pytest.mark.parametrize("address", [(0, 0, 0, 0), (1, 2, 3, 4), (2**63, 300, 1, 2)])
def test_bits_are_those_of_the_definition(address):
    seed, epoch, view, stream = address
    ids = torch.tensor([0, 1, 7, 1_281_166])
    expected = [word(seed, epoch, view, example, stream) for example in ids.tolist()]
    assert [found & MASK for found in draws.words(seed, epoch, view, ids, stream=stream).tolist()] == expected
    numbers = draws.uniform(seed, epoch, view, ids, 3, stream=stream)
    slots = [[splitmix((bits + 0x9E3779B97F4A7C15 * slot) & MASK) >> 40 for slot in (1, 2, 3)] for bits in expected]
    assert torch.equal(numbers, torch.tensor(slots, dtype=torch.float32) / 2**24)
    found = draws.integers(seed, epoch, view, ids, 1000, stream=stream)
    assert found.tolist() == [((bits >> 32) * 1000) >> 32 for bits in expected]


def test_numbers_never_change_between_releases():
    # A change here makes every recorded run unrepeatable.
    assert [round(u, 6) for u in draws.uniform(0, 0, 0, torch.tensor([0]), 3)[0].tolist()] == [
        0.888219,
        0.624275,
        0.989651,
    ]


def test_a_number_depends_on_its_address_only():
    whole = draws.uniform(3, 4, 1, IDS, 5)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(IDS)))
    assert torch.equal(draws.uniform(3, 4, 1, IDS[order], 5), whole[order])
    assert torch.equal(draws.uniform(3, 4, 1, IDS[7:8], 5), whole[7:8])
    assert torch.equal(draws.uniform(3, 4, 1, IDS, 2), whole[:, :2])


def test_no_global_generator_is_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    draws.uniform(0, 0, 0, IDS, 2)
    draws.integers(0, 0, 0, IDS, 5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


@pytest.mark.parametrize("address", [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (12345, 299, 3)])
def test_uniform(address):
    numbers = draws.uniform(*address, IDS, 4).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for slot in range(4):
        assert stats.kstest(numbers[:, slot], "uniform").pvalue > 1e-4


def neighbours():
    """Pairs of sequences that a poor hash would relate."""
    base = draws.uniform(0, 0, 0, IDS, 3).numpy()
    yield "slots", base[:, 0], base[:, 1]
    yield "ids", base[:-1, 0], base[1:, 0]
    yield "id and slot", base[:-1, 1], base[1:, 0]
    yield "epochs", base[:, 0], draws.uniform(0, 1, 0, IDS, 1)[:, 0].numpy()
    yield "views", base[:, 0], draws.uniform(0, 0, 1, IDS, 1)[:, 0].numpy()
    yield "seeds", base[:, 0], draws.uniform(1, 0, 0, IDS, 1)[:, 0].numpy()
    yield "streams", base[:, 0], draws.uniform(0, 0, 0, IDS, 1, stream=1)[:, 0].numpy()
    seed, epoch = (draws.uniform(*address, 0, IDS, 1)[:, 0].numpy() for address in ((1, 0), (0, 1)))
    yield "seed and epoch", seed, epoch
    yield "words", base[:, 0], draws.integers(0, 0, 0, IDS, 2**31).numpy() / 2**31


@pytest.mark.parametrize(("name", "one", "two"), [pytest.param(*pair, id=pair[0]) for pair in neighbours()])
def test_independent(name, one, two):
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(len(one))
    table = np.histogram2d(one, two, bins=16, range=((0, 1), (0, 1)))[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-4


def test_integers_are_uniform():
    found = draws.integers(0, 0, 0, IDS, 37).numpy()
    assert found.min() >= 0
    assert found.max() < 37
    assert stats.chisquare(np.bincount(found, minlength=37)).pvalue > 1e-4


def test_the_floor_of_a_multiple_stays_below_it():
    largest = torch.tensor(1 - 2**-24, dtype=torch.float32)
    for n in itertools.chain(range(1, 3000), (65_537, 1_281_167)):
        assert int(largest * n) == n - 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_bits_on_a_gpu():
    assert torch.equal(draws.uniform(1, 2, 3, IDS.cuda(), 4).cpu(), draws.uniform(1, 2, 3, IDS, 4))


def test_normal_numbers_are_normal_and_depend_on_their_address_only():
    numbers = draws.normal(3, 4, 0, IDS, 7, stream=draws.NOISE)
    assert numbers.dtype == torch.float32
    assert numbers.shape == (len(IDS), 7)
    for column in numbers.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    correlations = np.corrcoef(numbers.T.numpy()) - np.eye(7)
    assert np.abs(correlations).max() < 5 / len(IDS) ** 0.5
    assert torch.equal(draws.normal(3, 4, 0, IDS[70:75], 7, stream=draws.NOISE), numbers[70:75])
    for other in ((4, 4, draws.NOISE), (3, 5, draws.NOISE), (3, 4, draws.VIEWS)):
        changed = draws.normal(other[0], other[1], 0, IDS, 7, stream=other[2])
        assert abs(np.corrcoef(changed.flatten(), numbers.flatten())[0, 1]) < 0.02


def test_normal_numbers_are_those_of_box_and_muller():
    pairs = draws.uniform(1, 2, 0, IDS[:50], 4).double()
    radius = (-2 * (1 - pairs[:, :2]).log()).sqrt()
    expected = [radius * (2 * np.pi * pairs[:, 2:]).cos(), radius * (2 * np.pi * pairs[:, 2:]).sin()]
    found = draws.normal(1, 2, 0, IDS[:50], 3)
    torch.testing.assert_close(found.double(), torch.cat(expected, 1)[:, :3], rtol=1e-5, atol=1e-5)
