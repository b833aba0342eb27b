"""A checksum per row, so that a row which is no longer what was written is never taken for it.

A row is read as whole numbers w_j below 2^32 (a pair of bytes or four, as wide as its entries), and its checksum is

    c = (row + 1) m_0 + Σ_j w_j m_j   mod 2^64

with fixed odd multipliers m_j that look random (SplitMix64: Steele, Lea and Flood, OOPSLA 2014). An odd m_j turns no
change of w_j into 0, so whatever happens to one number of a row is seen for certain, and more damage but for a chance
of about 2^-32 (multilinear hashing: Carter and Wegman, J. Comput. Syst. Sci. 1979). A row in another row's place is
seen too. 0 is no checksum: it says that there is no row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

# How entries of so many bytes are read.
WORDS: dict[int, type[np.unsignedinteger[Any]]] = {2: np.uint16, 4: np.uint32}


def checksums(rows: Int[Tensor, " batch"], columns: tuple[Tensor, ...]) -> Int[Tensor, " batch"]:
    """Return the checksum of each row, int64, none of them 0.

    Args:
        rows: their numbers, on the host.
        columns: what the rows are made of, each [B, width], on the host.
    """
    widths = [column.shape[1] for column in columns]
    multipliers = _multipliers(1 + sum(widths))
    total = (rows.numpy().astype(np.uint64) + np.uint64(1)) * multipliers[0]
    for column, factors in zip(columns, np.split(multipliers[1:], np.cumsum(widths)[:-1]), strict=True):
        words = column.contiguous().numpy().view(WORDS[column.dtype.itemsize])
        total += np.einsum("ij,j->i", words, factors, dtype=np.uint64)
    total[total == 0] = 1
    return torch.from_numpy(total.view(np.int64))


@cache
def _multipliers(count: int) -> NDArray[np.uint64]:
    """Return the first so many multipliers."""
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
