"""How a row of class probabilities is kept: whole or by its largest entries, in float32 or float16.

What is decoded is a distribution again. With K classes, against the row that was encoded:

| format | bytes a row | largest error of an entry |
|---|---|---|
| `Dense("float32")` | 4 K | none, bit by bit |
| `Dense("float16")` | 2 K | 2.5e-4 + 3.1e-8 K, as a share of the entry less than 1e-3 above 6.2e-5 |
| `TopK(k, "float32")` | 4 k + 2 k, or 4 k + 4 k above 32,767 classes | of the k kept ones rounding alone |
| `TopK(k, "float16")` | 2 k + 2 k, or 2 k + 4 k | of the kept ones 5e-4 |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.errors import LimbeckError

Precision = Literal["float32", "float16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
LARGEST_INT16 = 32767


class Format(ABC):
    """How rows are kept."""

    @abstractmethod
    def columns(self, classes: int) -> list[tuple[int, torch.dtype]]:
        """Return width and dtype of each tensor that `encode` gives.

        Raises:
            LimbeckError: the format does not fit so many classes.
        """

    @abstractmethod
    def encode(self, probabilities: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Return what is kept of these rows, without gradient: tensors [B, width]."""

    @abstractmethod
    def decode(self, kept: tuple[Tensor, ...], classes: int) -> Float[Tensor, "batch classes"]:
        """Return float32 rows again."""

    def row_bytes(self, classes: int) -> int:
        """Return what one row takes."""
        return sum(width * dtype.itemsize for width, dtype in self.columns(classes))


@dataclass(frozen=True)
class Dense(Format):
    """All entries; float16 rows are divided by their sum when they are decoded.

    Attributes:
        dtype: of the entries.
    """

    dtype: Precision = "float32"

    def columns(self, classes: int) -> list[tuple[int, torch.dtype]]:
        """Return one column, as wide as there are classes."""
        return [(classes, DTYPES[self.dtype])]

    def encode(self, probabilities: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Return the rows in their dtype."""
        return (probabilities.detach().to(DTYPES[self.dtype]),)

    def decode(self, kept: tuple[Tensor, ...], classes: int) -> Float[Tensor, "batch classes"]:
        """Return the rows as they are, float16 ones to the sum 1."""
        (rows,) = kept
        if self.dtype == "float32":
            return rows
        rows = rows.float()
        # a row that is not there is all zeros
        return rows / rows.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)

    def __str__(self) -> str:
        """Return what headers and messages call it."""
        return self.dtype


@dataclass(frozen=True)
class TopK(Format):
    """The k largest entries; what they leave of 1 is spread evenly over the other classes when a row is decoded.

    Attributes:
        k: how many are kept, fewer than there are classes.
        dtype: of the kept probabilities.
    """

    k: int
    dtype: Precision = "float32"

    def columns(self, classes: int) -> list[tuple[int, torch.dtype]]:
        """Return the probabilities' column and that of their classes.

        Raises:
            LimbeckError: k is not below the number of classes.
        """
        if self.k >= classes:
            raise LimbeckError(f"top_k is {self.k} and there are {classes} classes: set it below, or to null")
        return [(self.k, DTYPES[self.dtype]), (self.k, torch.int16 if classes <= LARGEST_INT16 else torch.int32)]

    def encode(self, probabilities: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Return the k largest entries of each row and their classes."""
        (_, dtype), (_, index) = self.columns(probabilities.shape[1])
        values, places = probabilities.detach().topk(self.k, 1)
        return values.to(dtype), places.to(index)

    def decode(self, kept: tuple[Tensor, ...], classes: int) -> Float[Tensor, "batch classes"]:
        """Return whole rows; kept entries that rounding has brought above 1 are divided by their sum."""
        values, places = kept[0].float(), kept[1].long()
        total = values.sum(1, keepdim=True)
        rest = (1 - total).clamp_min(0) / (classes - self.k)
        return rest.expand(-1, classes).scatter(1, places, values / total.clamp_min(1))

    def __str__(self) -> str:
        """Return what headers and messages call it."""
        return f"the top {self.k} in {self.dtype}"


def format_of(dtype: Precision, top_k: int | None) -> Format:
    """Return the format that a recipe's fields ask for."""
    return Dense(dtype) if top_k is None else TopK(top_k, dtype)
