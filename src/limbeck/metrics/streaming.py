"""The same metrics batch by batch and across processes: torchmetrics states that add up (or are gathered).

Every metric takes `update(logits, labels)`, so one `MetricCollection` can hold them all. (It merges metrics
whose states are alike after the first batch, so no two here share both the names and the shapes of states.)
Softmax and sums are float64: on a machine with MPS, which has none, leave the metrics on the CPU. `compute()`
gives a float64 scalar equal to the pure function over all the examples of all the processes. Input is
checked as there, and `compute()` before any example raises `LimbeckError`. Results are not cached,
since torchmetrics would return the old one after `merge_state`.
"""

from __future__ import annotations

from typing import Any, final

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from limbeck.errors import LimbeckError
from limbeck.metrics.inputs import blocks, check_bins, check_top
from limbeck.metrics.selective import aurc
from limbeck.metrics.sums import bin_sums, brier_sum, calibration_error, label_rank, nll_sum, top_confidence


@final
class RunningNLL(Metric):
    """Mean negative log-likelihood in nats, as `limbeck.metrics.nll`."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    nats: Float64[Tensor, ""]
    examples: Int64[Tensor, ""]

    def __init__(self, **kwargs: Any) -> None:
        """Keyword arguments go to `torchmetrics.Metric`."""
        super().__init__(compute_with_cache=False, **kwargs)
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("examples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Count a batch."""
        for block, classes in blocks(logits, labels, "logits"):
            self.nats += nll_sum(block, classes)
            self.examples += len(classes)

    def compute(self) -> Float64[Tensor, ""]:
        """Return the mean so far."""
        return self.nats / _counted(self.examples)


@final
class RunningError(Metric):
    """Top-k error, the fraction 1 - `limbeck.metrics.accuracy(..., top)`.

    The state counts labels by rank: 0..k-1, then all beyond. Its shape tells metrics of different k apart.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    ranks: Int64[Tensor, " ranks"]

    def __init__(self, top: int = 1, **kwargs: Any) -> None:
        """Guess `top` times; other keyword arguments go to `torchmetrics.Metric`."""
        super().__init__(compute_with_cache=False, **kwargs)
        self.top = top
        self.add_state("ranks", torch.zeros(top + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Count a batch."""
        for block, classes in blocks(logits, labels, "logits"):
            check_top(self.top, block.shape[1])
            rank = label_rank(block, classes).clamp(max=self.top)
            self.ranks += torch.bincount(rank, minlength=self.top + 1)

    def compute(self) -> Float64[Tensor, ""]:
        """Return the fraction so far."""
        return self.ranks[-1].double() / _counted(self.ranks.sum())


@final
class RunningBrier(Metric):
    """Brier score of softmax(logits), as `limbeck.metrics.brier`."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    squares: Float64[Tensor, ""]
    examples: Int64[Tensor, ""]

    def __init__(self, **kwargs: Any) -> None:
        """Keyword arguments go to `torchmetrics.Metric`."""
        super().__init__(compute_with_cache=False, **kwargs)
        self.add_state("squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("examples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Count a batch."""
        for block, classes in blocks(logits, labels, "logits"):
            self.squares += brier_sum(torch.softmax(block, dim=1), classes)
            self.examples += len(classes)

    def compute(self) -> Float64[Tensor, ""]:
        """Return the mean so far."""
        return self.squares / _counted(self.examples)


@final
class RunningECE(Metric):
    """Expected calibration error of softmax(logits), as `limbeck.metrics.ece`; keeps only each bin's sums."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    binned: Float64[Tensor, "3 bins"]

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        """Sort into `bins` bins; other keyword arguments go to `torchmetrics.Metric`."""
        check_bins(bins)
        super().__init__(compute_with_cache=False, **kwargs)
        self.bins = bins
        self.add_state("binned", torch.zeros(3, bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Count a batch."""
        for block, classes in blocks(logits, labels, "logits"):
            self.binned += bin_sums(*top_confidence(torch.softmax(block, dim=1), classes), self.bins)

    def compute(self) -> Float64[Tensor, ""]:
        """Return the error so far."""
        _counted(self.binned[0].sum())
        return calibration_error(self.binned)


@final
class RunningAURC(Metric):
    """Area under the risk-coverage curve of softmax(logits), as `limbeck.metrics.aurc`.

    A ranking has no sum, so 16 bytes per example are kept and gathered at the end.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    confidence: list[Tensor]
    correct: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        """Keyword arguments go to `torchmetrics.Metric`."""
        super().__init__(compute_with_cache=False, **kwargs)
        # A process without examples sends an empty tensor of the metric's type: all states must have it.
        self.set_dtype(torch.float64)
        self.add_state("confidence", [], dist_reduce_fx="cat")
        self.add_state("correct", [], dist_reduce_fx="cat")

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> None:
        """Keep a batch's confidences."""
        for block, classes in blocks(logits, labels, "logits"):
            confidence, correct = top_confidence(torch.softmax(block, dim=1), classes)
            self.confidence.append(confidence)
            self.correct.append(correct.double())

    def compute(self) -> Float64[Tensor, ""]:
        """Return the area so far."""
        _counted(torch.tensor(len(self.confidence)))
        area = aurc(dim_zero_cat(self.confidence), dim_zero_cat(self.correct))
        return torch.tensor(area, dtype=torch.float64)


def _counted(examples: Tensor) -> Tensor:
    if examples == 0:
        raise LimbeckError("the metric has seen no examples: call update(logits, labels) before compute()")
    return examples
