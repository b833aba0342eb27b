"""Linear CKA: how alike two layers see the same examples (Kornblith et al., ICML 2019).

    CKA(X, Y) = HSIC(K, L) / (HSIC(K, K) HSIC(L, L))^½,   K = X Xᵀ,  L = Y Yᵀ

The biased HSIC is the squared Frobenius norm of the cross-covariance. It is near 1 for wide layers that have nothing in
common, unless examples far outnumber features. The unbiased one (Song et al., 2012) is, with the diagonals of K and L
set to 0,

    HSIC = [tr(K L) + 1ᵀK1 1ᵀL1 / ((n-1)(n-2)) - 2 1ᵀKL1 / (n-2)] / (n (n-3)),   n ≥ 4.

It may be small or negative where two layers share little, which is a result and is never cut off. The CKA is NaN
where HSIC(K, K) or HSIC(L, L) is not above 0 and its rounding: with constant features, or too few examples to tell.

The usual way over batches adds up the HSIC of each batch (Nguyen et al., ICLR 2021), which depends on what is in a
batch together. `LinearCKA` is exact instead: for a linear kernel every term above is made of sums over examples, such
as tr(K L) = ‖XᵀY‖² - Σ_i ‖x_i‖² ‖y_i‖². So the result is that of all examples at once, whatever the batch size, but
for the last digits. All in float64; on MPS, which has none, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limbeck.errors import LimbeckError

# of an HSIC of this share of its terms no digit is left
_ROUNDING = 1e-13


def linear_cka(x: Float[Tensor, "_ ..."], y: Float[Tensor, "_ ..."], unbiased: bool = True) -> Float64[Tensor, ""]:
    """Return the linear CKA of two layers' features of the same examples.

    Args:
        x: features [n, p]; flatten or pool maps first.
        y: features [n, q], row by row of the same examples.
        unbiased: divide unbiased HSICs; without it the result is in [0, 1] but depends on n.

    Raises:
        LimbeckError: rows that do not pair, or fewer than 4 (2 if biased).
    """
    return cka_matrix([x], [y], unbiased)[0, 0]


@torch.no_grad()
def cka_matrix(
    first: Sequence[Float[Tensor, "_ ..."]],
    second: Sequence[Float[Tensor, "_ ..."]] | None = None,
    unbiased: bool = True,
) -> Float64[Tensor, "first second"]:
    """Return the linear CKA of each layer of one network with each of another, or of its own.

    By the n x n kernels where layers are wider than n, 8 n² bytes a layer; else as `LinearCKA`.

    Args:
        first: features [n, p] of each layer.
        second: likewise; `first` itself if None.
        unbiased: as in `linear_cka`.

    Raises:
        LimbeckError: as `linear_cka`.
    """
    check_features(first, second)
    layers = [*first, *(second or ())]
    rows = len(layers[0])
    if rows >= max(layer.shape[1] for layer in layers):
        sums = LinearCKA(unbiased)
        sums.update(first, second)
        return sums.matrix()
    enough(rows, unbiased)
    kernels = [_kernel(layer) for layer in layers]
    return _matrix(lambda i, j: _of_kernels(kernels[i], kernels[j], unbiased), len(first), len(layers))


class LinearCKA:
    """The linear CKA of layers whose features come batch by batch, the same for every batch size.

    Memory does not grow with the examples: 8 p² bytes for each layer of p features and 8 p q for each pair of layers
    that is compared, 100 MB for two layers of 2048. Where layers are wider than some thousands, pool their maps, or
    keep a part of the examples and take `cka_matrix`. Adding a batch waits for nothing on a GPU.
    """

    def __init__(self, unbiased: bool = True) -> None:
        self.unbiased = unbiased
        self.rows = 0
        self._widths: list[list[int]] = []

    @torch.no_grad()
    def update(
        self, first: Sequence[Float[Tensor, "_ ..."]], second: Sequence[Float[Tensor, "_ ..."]] | None = None
    ) -> None:
        """Add a batch.

        Args:
            first: features [b, p] of each layer of one network.
            second: features [b, q] of each layer of another, of the same examples; None compares the first with itself.

        Raises:
            LimbeckError: rows that do not pair, or layers other than those of the first batch.
        """
        check_features(first, second)
        layers = [float64(layer) for layer in (*first, *(second or ()))]
        if not len(layers[0]):
            return
        widths = [[layer.shape[1] for layer in side] for side in (first, second or ())]
        if not self._widths:
            self._start(layers, widths)
        if widths != self._widths:
            raise LimbeckError(f"this batch has layers of {widths} features, but those before had {self._widths}")
        # HSIC does not change by a shift; taking the first example's features as 0 spares digits of large means
        layers = [layer - origin for layer, origin in zip(layers, self._origins, strict=True)]
        squares = torch.stack([layer.square().sum(1) for layer in layers], dim=1)
        self.rows += len(squares)
        self._squares += squares.sum(0)
        self._products += squares.T @ squares
        for total, weighted, layer in zip(self._totals, self._weighted, layers, strict=True):
            total.add_(layer.sum(0))
            weighted.addmm_(layer.T, squares)
        for (i, j), product in self._crossed.items():
            product.addmm_(layers[i].T, layers[j])

    def matrix(self) -> Float64[Tensor, "first second"]:
        """Return the CKA of each layer of the first network with each of the second, of all examples so far.

        Raises:
            LimbeckError: fewer than 4 examples (2 if biased).
        """
        enough(self.rows, self.unbiased)
        return _matrix(self._hsic, len(self._widths[0]), len(self._totals))

    def _start(self, layers: list[Tensor], widths: list[list[int]]) -> None:
        self._widths = widths
        self._origins = [layer[0].clone() for layer in layers]
        self._totals = [torch.zeros_like(origin) for origin in self._origins]
        self._weighted = [origin.new_zeros(len(origin), len(layers)) for origin in self._origins]
        self._squares = layers[0].new_zeros(len(layers))
        self._products = layers[0].new_zeros(len(layers), len(layers))
        pairs = {(i, i) for i in range(len(layers))} | set(_pairs(len(widths[0]), len(layers)))
        self._crossed = {(i, j): torch.outer(self._totals[i], self._totals[j]) for i, j in sorted(pairs)}

    def _hsic(self, i: int, j: int) -> HSIC:
        n, crossed = self.rows, self._crossed[i, j]
        size = crossed.square().sum()
        if not self.unbiased:
            return HSIC((crossed - torch.outer(self._totals[i], self._totals[j]) / n).square().sum(), size)
        ones = [self._totals[k].square().sum() - self._squares[k] for k in (i, j)]
        between = (
            self._totals[i] @ crossed @ self._totals[j]
            - self._totals[i] @ self._weighted[i][:, j]
            - self._totals[j] @ self._weighted[j][:, i]
            + self._products[i, j]
        )
        return HSIC(unbiased_hsic(size - self._products[i, j], ones[0] * ones[1], between, n), size)


class HSIC(NamedTuple):
    """An HSIC times a number that all pairs share, and the size of what cancelled in it."""

    value: Float64[Tensor, ""]
    size: Float64[Tensor, ""]


def _of_kernels(kernel: Tensor, other: Tensor, unbiased: bool) -> HSIC:
    size = (kernel * other).sum()
    if not unbiased:
        return HSIC(size, size)
    # sums without the diagonals, which would be 0
    rows = [each.sum(1) - each.diagonal() for each in (kernel, other)]
    trace = size - kernel.diagonal() @ other.diagonal()
    return HSIC(unbiased_hsic(trace, rows[0].sum() * rows[1].sum(), rows[0] @ rows[1], len(kernel)), size)


def unbiased_hsic(
    trace: Float64[Tensor, "*pairs"], ones: Float64[Tensor, "*pairs"], between: Float64[Tensor, "*pairs"], n: int
) -> Float64[Tensor, "*pairs"]:
    """Return HSIC(K, L) times n (n - 3), which the CKA would take out again.

    Args:
        trace: tr(K L), of kernels whose diagonals are 0.
        ones: 1ᵀK1 1ᵀL1.
        between: 1ᵀKL1.
        n: examples.
    """
    return trace + ones / ((n - 1) * (n - 2)) - 2 * between / (n - 2)


def norm(value: Float64[Tensor, "*layers"], size: Float64[Tensor, "*layers"]) -> Float64[Tensor, "*layers"]:
    """Return HSIC(K, K)^½; NaN where it is not above 0 and its rounding, for two negative ones would hide in a CKA.

    Args:
        value: HSIC(K, K).
        size: of what cancelled in it.
    """
    return torch.where(value > _ROUNDING * size, value, torch.nan).sqrt()


def _kernel(features: Tensor) -> Tensor:
    features = float64(features)
    # the first example is taken off before the mean, so that constant features become exactly 0
    features = features - features[0]
    features = features - features.mean(0)
    return features @ features.T


def _pairs(first: int, layers: int) -> list[tuple[int, int]]:
    """Return which layers are compared, row by row: the first ones with the others, or with themselves."""
    others = range(first, layers) if layers > first else range(first)
    return [(min(i, j), max(i, j)) for i in range(first) for j in others]


def _matrix(hsic: Callable[[int, int], HSIC], first: int, layers: int) -> Tensor:
    """Return HSIC(i, j) / (HSIC(i, i) HSIC(j, j))^½, NaN where one of these is lost."""
    own = [hsic(i, i) for i in range(layers)]
    roots = [norm(*found) for found in own]
    known: dict[tuple[int, int], Tensor] = {}
    for i, j in _pairs(first, layers):
        if (i, j) not in known:
            known[i, j] = hsic(i, j).value / (roots[i] * roots[j])
    return torch.stack([known[pair] for pair in _pairs(first, layers)]).reshape(first, -1)


def check_features(first: Sequence[Tensor], second: Sequence[Tensor] | None) -> None:
    """Refuse what is not [examples, features], of the same examples for all layers, with a LimbeckError."""
    if not first or (second is not None and not second):
        raise LimbeckError("there are no layers to compare: pass the features of at least one layer of each network")
    layers = [*first, *(second or ())]
    for layer in layers:
        if layer.ndim != 2:
            raise LimbeckError(
                f"features have shape {list(layer.shape)} but must be [examples, features]: flatten them"
            )
        if len(layer) != len(layers[0]):
            raise LimbeckError(
                f"layers have features of {len(layers[0])} and of {len(layer)} examples: compare them on the same ones"
            )


def enough(rows: int, unbiased: bool) -> None:
    """Refuse fewer examples than the estimate is defined for, with a LimbeckError."""
    least = 4 if unbiased else 2
    if rows < least:
        kind = "unbiased" if unbiased else "biased"
        raise LimbeckError(f"the {kind} CKA needs at least {least} examples, here are {rows}")


def float64(features: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Return features to compute with, on the CPU where their device has no float64."""
    features = features.detach()
    return (features.cpu() if features.device.type == "mps" else features).double()
