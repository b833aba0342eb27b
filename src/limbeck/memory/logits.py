"""How a row of a teacher's logits is kept: whole or by its largest entries, in float32 or float16.

With K classes, against the row that was encoded:

| format | bytes a row | what is decoded |
|---|---|---|
| `DenseLogits("float32")` | 4 K | the row, bit by bit |
| `DenseLogits("float16")` | 2 K | each logit z to within 2^-11 |z| |
| `TopLogits(k, dtype)` | (k + 1) of dtype, 2 k or 4 k for their classes | the k largest; one value for all others |

That one value is the log of the others' mean of exp(z). So the softmax at temperature 1 is right in each of the k
entries, up to the dtype, and in what the others have together. At T > 1 the ratios among the k are still right, and
the others have together at least as much as in the whole row (x^(1/T) is concave); at T < 1 at most as much.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from limbeck.memory.formats import DTYPES, Dense, Format, Precision, TopK


class DenseLogits(Dense):
    """All logits; float16 cuts them to its range, ±65504."""

    def encode(self, logits: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Return the rows in their dtype."""
        return (_rounded(logits.detach(), self.dtype),)

    def decode(self, kept: tuple[Tensor, ...], classes: int) -> Float[Tensor, "batch classes"]:
        """Return the rows as they are, in float32."""
        (rows,) = kept
        return rows.float()


class TopLogits(TopK):
    """The k largest logits, and one for all other classes."""

    def columns(self, classes: int) -> list[tuple[int, torch.dtype]]:
        """Return the logits' column, the last of them the others', and that of the classes of the k.

        Raises:
            LimbeckError: k is not below the number of classes.
        """
        (width, dtype), places = super().columns(classes)
        return [(width + 1, dtype), places]

    def encode(self, logits: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Return the k largest logits and the others' value, and the classes of the k."""
        classes = logits.shape[1]
        (_, _), (_, index) = self.columns(classes)
        values, places = logits.detach().topk(self.k, 1)
        others = logits.detach().scatter(1, places, -math.inf).logsumexp(1, keepdim=True) - math.log(classes - self.k)
        return _rounded(torch.cat((values, others), 1), self.dtype), places.to(index)

    def decode(self, kept: tuple[Tensor, ...], classes: int) -> Float[Tensor, "batch classes"]:
        """Return whole rows."""
        values, places = kept[0].float(), kept[1].long()
        return values[:, -1:].expand(-1, classes).scatter(1, places, values[:, :-1])


def logits_format(dtype: Precision, top_k: int | None) -> Format:
    """Return the format that a recipe's fields ask for."""
    return DenseLogits(dtype) if top_k is None else TopLogits(top_k, dtype)


def _rounded(logits: Tensor, dtype: Precision) -> Tensor:
    limit = torch.finfo(DTYPES[dtype]).max
    return logits.clamp(-limit, limit).to(DTYPES[dtype]) if dtype == "float16" else logits
