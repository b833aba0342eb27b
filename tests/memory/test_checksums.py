"""Checksums of rows, against a loop in Python's own whole numbers."""

import pytest
import torch

from limbeck.memory.checksums import checksums
from limbeck.memory.logits import DenseLogits, TopLogits

MASK = 2**64 - 1


def multiplier(number):
    """Return the number-th output of SplitMix64 from the seed 0, made odd."""
    z = (number + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return (z ^ z >> 31) | 1


def naive(row, columns):
    total, place = (row + 1) * multiplier(0), 1
    for column in columns:
        size = column.element_size()
        content = column.numpy().tobytes()
        for start in range(0, len(content), size):
            total += int.from_bytes(content[start : start + size], "little") * multiplier(place)
            place += 1
    total &= MASK
    return total if total < 2**63 else total - 2**64


FORMATS = [DenseLogits(), DenseLogits("float16"), TopLogits(3), TopLogits(2, "float16")]


@pytest.fixture
def said():
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(2)) * 4


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_checksums_are_those_of_the_formula(said, format):
    parts, rows = format.encode(said), torch.tensor([0, 3, 2**31, 2**40, 9])
    found = checksums(rows, parts).tolist()
    assert found == [naive(row, [part[i] for part in parts]) for i, row in enumerate(rows.tolist())]


def test_the_multipliers_are_splitmix64s():
    # its first outputs from the seed 0
    assert multiplier(0) == 0xE220A8397B1DCDAF
    assert multiplier(1) == 0x6E789E6AA1B965F4 | 1


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_flipped_bit_is_seen(said, format):
    parts, rows = format.encode(said), torch.arange(5)
    before = checksums(rows, parts)
    for part in parts:
        content = part.numpy().view("uint8")
        for byte in range(content.shape[1]):
            for bit in range(8):
                content[:, byte] ^= 1 << bit
                assert (checksums(rows, parts) != before).all()
                content[:, byte] ^= 1 << bit
    assert torch.equal(checksums(rows, parts), before)


def test_a_row_in_another_place_is_seen(said):
    parts = DenseLogits().encode(said)
    assert (checksums(torch.arange(5), parts) != checksums(torch.arange(1, 6), parts)).all()


def test_no_row_has_the_checksum_of_none():
    row, word = 2381458358552467657, torch.tensor([[2]], dtype=torch.int32)
    assert naive(row, [word]) == 0
    assert checksums(torch.tensor([row]), (word,)).tolist() == [1]
