"""The checked way in: tensors or NumPy arrays become float64 blocks of rows, or one line says why not.

Blocks keep the extra memory at some 10 MB whatever the input's size, while every sum is taken in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from limbeck.errors import LimbeckError

Array: TypeAlias = npt.NDArray[Any] | Tensor

_BLOCK_ELEMENTS = 2**20


def blocks(
    scores: Array, labels: Array, name: str
) -> Iterator[tuple[Float64[Tensor, "rows classes"], Int64[Tensor, " rows"]]]:
    """Walk over scores [N, K] and labels [N] in float64 blocks of rows, on the scores' own device.

    Scores on MPS, which has no float64, come over to the CPU. A block may share the scores' memory: never
    write into it.

    Args:
        scores: finite numbers [N, K].
        labels: whole numbers [N] in 0..K-1.
        name: what the scores are called in an error.

    Raises:
        LimbeckError: empty input, shapes that do not fit, labels out of range, NaN or infinite scores.

    """
    examples, classes = _shape(scores, name)
    device = torch.device("cpu")
    if isinstance(scores, Tensor) and scores.device.type != "mps":
        device = scores.device
    classes_of = _labels(labels, examples, classes, name).to(device)
    rows = max(1, _BLOCK_ELEMENTS // max(classes, 16))
    for start in range(0, examples, rows):
        block = _float64(scores[start : start + rows], device)
        # The extremes carry any NaN along, and cost a fifth of looking at each score.
        if not torch.isfinite(torch.stack(torch.aminmax(block))).all():
            row = start + _first(~torch.isfinite(block).all(dim=1))
            raise LimbeckError(f"{name} of row {row} hold NaN or infinity: every score must be finite")
        yield block, classes_of[start : start + rows]


def probability_blocks(
    probs: Array, labels: Array
) -> Iterator[tuple[Float64[Tensor, "rows classes"], Int64[Tensor, " rows"]]]:
    """As `blocks`, for rows of probabilities: none negative, each row's sum 1 within its type's rounding.

    The tolerance is 0.001, or 8 units of the type's rounding if more (float16 0.008, bfloat16 0.06).

    Raises:
        LimbeckError: as `blocks`, and rows that are no probabilities.

    """
    tolerance = max(1e-3, 8 * _epsilon(probs))
    start = 0
    for block, classes_of in blocks(probs, labels, "probabilities"):
        total = block.sum(dim=1)
        off = (total - 1).abs() > tolerance
        if off.any():
            row = _first(off)
            raise LimbeckError(
                f"probabilities of row {start + row} sum to {float(total[row]):.6g}, not 1: "
                "pass softmax(logits), not logits"
            )
        negative = block.amin(dim=1) < -tolerance
        if negative.any():
            row = start + _first(negative)
            raise LimbeckError(f"probabilities of row {row} are negative: pass softmax(logits), not logits")
        yield block, classes_of
        start += len(block)


def check_bins(bins: int) -> None:
    """Refuse fewer than one bin with a `LimbeckError`."""
    if bins < 1:
        raise LimbeckError(f"bins is {bins} but must be at least 1 (15 is usual, PS-KD uses 10)")


def check_top(top: int, classes: int) -> None:
    """Refuse a top-k outside 1..K with a `LimbeckError`."""
    if not 1 <= top <= classes:
        raise LimbeckError(f"top is {top} but must lie in 1..{classes}, the number of classes")


def to_numpy(values: Array) -> npt.NDArray[Any]:
    """Return the values as a NumPy array, float64 where NumPy lacks the type (bfloat16)."""
    if isinstance(values, np.ndarray):
        return values
    values = values.detach().cpu()
    return (values.double() if values.dtype == torch.bfloat16 else values).numpy()


def _shape(scores: Array, name: str) -> tuple[int, int]:
    if scores.ndim != 2:
        raise LimbeckError(f"{name} have shape {list(scores.shape)} but must be [examples, classes]")
    examples, classes = scores.shape
    if examples == 0 or classes == 0:
        raise LimbeckError(f"{name} are empty (shape {[examples, classes]}): pass at least one example")
    return examples, classes


def _labels(labels: Array, examples: int, classes: int, name: str) -> Int64[Tensor, " examples"]:
    if tuple(labels.shape) != (examples,):
        raise LimbeckError(
            f"labels have shape {list(labels.shape)} but {name} have {examples} rows: pass one label per row"
        )
    plain = to_numpy(labels)
    if plain.dtype.kind not in "iu":
        raise LimbeckError(f"labels are {plain.dtype} but must be whole numbers, the index of each class")
    outside = (plain < 0) | (plain >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise LimbeckError(f"label of row {row} is {plain[row]} but must lie in 0..{classes - 1}")
    return torch.from_numpy(plain.astype(np.int64))


def _float64(rows: Array, device: torch.device) -> Float64[Tensor, "rows classes"]:
    if isinstance(rows, Tensor):
        return rows.detach().to(device).double()
    # A copy, since torch refuses byte orders, strides and read-only (memory-mapped) arrays that NumPy allows.
    return torch.from_numpy(np.array(rows, dtype=np.float64, order="C"))


def _epsilon(values: Array) -> float:
    if isinstance(values, Tensor):
        return torch.finfo(values.dtype).eps if values.dtype.is_floating_point else 0.0
    return float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0


def _first(mask: Tensor) -> int:
    return int(mask.int().argmax())
