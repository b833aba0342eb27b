"""Linear CKA of layers of any width: over pairs of batches, whose features are given as often as they are asked for.

`limbeck.analysis.cka` says what is computed. Of wide maps neither its p x p sums nor its n x n kernels have room. But
every term of HSIC(K, L) is a sum over pairs of examples, or over examples of the sums of their rows, so blocks of K and
L between two batches are enough, and each is forgotten once it is added. As for all examples at once, the result does
not depend on the batches, but for the last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limbeck.analysis.cka import check_features, enough, float64, norm, unbiased_hsic
from limbeck.errors import LimbeckError


class Alike(NamedTuple):
    """The CKA of each layer with each.

    Attributes:
        cka: unbiased; NaN where a layer's own HSIC is not above 0 and its rounding.
        size: of what cancelled in a layer's own HSIC: 0 where all examples have the same features, and not finite where
            some are not.
    """

    cka: Float64[Tensor, "layers layers"]
    size: Float64[Tensor, " layers"]


@torch.no_grad()
def wide_cka(batches: int, features: Callable[[int], Sequence[Float[Tensor, "_ ..."]]]) -> Alike:
    """Return the unbiased linear CKA of all layers with each other, in float64.

    Memory: the features of two batches, a block [b, b] of each layer's kernel, and two numbers an example and layer.
    A batch is asked for once, and again for each one after it.

    Args:
        batches: how many there are.
        features: of the i-th batch, for each layer [b, p]; the same ones whenever it is asked for.

    Raises:
        LimbeckError: rows that do not pair, layers other than those of the first batch, fewer than 4 examples.
    """
    sums: _Sums | None = None
    for i in range(batches):
        first = features(i)
        check_features(first, None)
        if sums is None:
            sums = _Sums(first, batches)
        for j in range(i + 1):
            sums.add(i, first, j, first if i == j else features(j))
    if sums is None:
        raise LimbeckError("there is no batch to compare layers by: give at least one")
    return sums.alike()


class _Sums:
    """What is left of the blocks of kernels.

    Args:
        first: the first batch, whose first example is taken off all features: that changes no HSIC and spares digits.
        batches: how many there are.
    """

    def __init__(self, first: Sequence[Tensor], batches: int) -> None:
        self._origins = [float64(layer[:1]).clone() for layer in first]
        self._traces = self._origins[0].new_zeros(len(first), len(first))
        self._rows: list[Tensor | None] = [None] * batches
        self._diagonals: list[Tensor] = []

    def add(self, i: int, first: Sequence[Tensor], j: int, second: Sequence[Tensor]) -> None:
        """Add the blocks of kernels between batch i and batch j, and those between j and i."""
        widths, before = [layer.shape[1] for layer in first], [origin.shape[1] for origin in self._origins]
        if widths != before:
            raise LimbeckError(f"batch {i} has layers of {widths} features, but the first one had {before}")
        blocks = torch.stack(
            [
                (float64(x) - origin) @ (float64(y) - origin).T
                for x, y, origin in zip(first, second, self._origins, strict=True)
            ]
        )
        flat = blocks.flatten(1)
        self._traces.addmm_(flat, flat.T, alpha=1 if i == j else 2)
        self._add_rows(i, blocks.sum(2))
        if i == j:
            self._diagonals.append(blocks.diagonal(dim1=1, dim2=2))
        else:
            self._add_rows(j, blocks.sum(1))

    def alike(self) -> Alike:
        """Return the CKA of all that was added."""
        diagonals = torch.cat(self._diagonals, dim=1)
        # sums without the diagonals, which would be 0
        rows = torch.cat([part for part in self._rows if part is not None], dim=1) - diagonals
        n, ones = rows.shape[1], rows.sum(1)
        enough(n, unbiased=True)
        hsic = unbiased_hsic(self._traces - diagonals @ diagonals.T, torch.outer(ones, ones), rows @ rows.T, n)
        sizes = self._traces.diagonal()
        norms = norm(hsic.diagonal(), sizes)
        return Alike(hsic / torch.outer(norms, norms), sizes)

    def _add_rows(self, i: int, sums: Tensor) -> None:
        before = self._rows[i]
        self._rows[i] = sums if before is None else before + sums
