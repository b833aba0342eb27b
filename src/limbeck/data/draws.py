"""Random numbers that belong to an example: a pure function of (seed, epoch, view, id), by hashing.

A number is a hash of its own address, so it doesn't matter which process, worker or device asks for it, how
many others were asked for before, or in what order. The hash is the splitmix64 finaliser (Steele, Lea, Flood:
"Fast splittable pseudorandom number generators", OOPSLA 2014) in wrapping 64-bit integers, so CPU and CUDA
give the same bits. No state of torch, numpy or Python is read or changed.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Streams: what a number is for, so that two uses never share one.
VIEWS: Final = 0
MIX: Final = 1
PARTNER: Final = 2
SIZE: Final = 3
DATASET: Final = 4
SIBLING: Final = 5
NOISE: Final = 6
BOXES: Final = 7

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLIERS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS: Final = (30, 27, 31)


def words(seed: int, epoch: int, view: int, ids: Int[Tensor, " batch"], *, stream: int = 0) -> Int[Tensor, " batch"]:
    """Give each example 64 random bits, as int64 on the device of `ids`."""
    return _scramble(ids * _signed(_GOLDEN) + _signed(_key(seed, epoch, view, stream)))


def uniform(
    seed: int, epoch: int, view: int, ids: Int[Tensor, " batch"], slots: int, *, stream: int = 0
) -> Float[Tensor, "batch slots"]:
    """Give each example `slots` independent numbers, uniform in [0, 1): float32 made of 24 random bits.

    For an integer n, `floor(u * n)` is always below n: the largest u is 1 - 2**-24, and its product with n
    rounds down.
    """
    counters = torch.arange(1, slots + 1, device=ids.device) * _signed(_GOLDEN)
    bits = _scramble(words(seed, epoch, view, ids, stream=stream)[:, None] + counters)
    return _shifted(bits, 40).to(torch.float32) * 2.0**-24


def normal(
    seed: int, epoch: int, view: int, ids: Int[Tensor, " batch"], slots: int, *, stream: int = 0
) -> Float[Tensor, "batch slots"]:
    """Give each example `slots` independent numbers of the standard normal distribution, float32.

    They are made of uniform ones in pairs (Box & Muller: "A note on the generation of random normal deviates", 1958),
    so none is beyond ±5.77. Devices differ in the last digits of logarithm and cosine.
    """
    pairs = (slots + 1) // 2
    numbers = uniform(seed, epoch, view, ids, 2 * pairs, stream=stream)
    radius, angle = (-2 * torch.log1p(-numbers[:, :pairs])).sqrt_(), numbers[:, pairs:] * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :slots]


def integers(
    seed: int, epoch: int, view: int, ids: Int[Tensor, " batch"], high: int | Int[Tensor, " batch"], *, stream: int = 0
) -> Int[Tensor, " batch"]:
    """Give each example an integer, uniform in [0, high), from 32 random bits; `high` is at most 2**31."""
    return (_shifted(words(seed, epoch, view, ids, stream=stream), 32) * high) >> 32


def _key(*parts: int) -> int:
    key = 0
    for part in parts:
        key = _scramble_int((key + _GOLDEN * (part + 1)) & _MASK)
    return key


def _scramble(bits: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    first, second = (_signed(multiplier) for multiplier in _MULTIPLIERS)
    bits = (bits ^ _shifted(bits, _SHIFTS[0])) * first
    bits = (bits ^ _shifted(bits, _SHIFTS[1])) * second
    return bits ^ _shifted(bits, _SHIFTS[2])


def _scramble_int(bits: int) -> int:
    for shift, multiplier in zip(_SHIFTS[:2], _MULTIPLIERS, strict=True):
        bits = ((bits ^ (bits >> shift)) * multiplier) & _MASK
    return bits ^ (bits >> _SHIFTS[2])


def _shifted(bits: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    """Shift right and fill with zeros: torch's own shift of an int64 copies the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits
