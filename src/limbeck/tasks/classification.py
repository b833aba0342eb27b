"""Image classification: a unit is an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from limbeck.core.batch import Batch, Output, Units
from limbeck.core.cohort import Cohort
from limbeck.errors import LimbeckError


class Predictions(NamedTuple):
    """What a network says of a split.

    Attributes:
        ids: int64 [N], ascending.
        labels: int64 [N].
        logits: float32 [N, K].
    """

    ids: Int[np.ndarray, " examples"]
    labels: Int[np.ndarray, " examples"]
    logits: Float[np.ndarray, "examples classes"]


# what results call the students' common answer
ENSEMBLE = "ensemble"


def ensemble(said: Sequence[Predictions]) -> Predictions:
    """Return the answer of several networks together: the mean of their probabilities, as its logarithm."""
    logits = torch.stack([torch.from_numpy(one.logits).double() for one in said])
    mean = logits.log_softmax(-1).logsumexp(0) - math.log(len(said))
    return said[0]._replace(logits=mean.float().numpy())


class Classification:
    """The task of naming an image's class."""

    def units(self, output: Output, batch: Batch) -> Units:
        """Return one unit per image.

        Raises:
            LimbeckError: the logits are not [B, K].
        """
        logits = output.logits
        if logits.ndim != 2 or logits.shape[0] != batch.labels.shape[0]:
            shape, wanted = list(logits.shape), f"[{batch.labels.shape[0]}, classes]"
            raise LimbeckError(f"the network returned logits of shape {shape}; classification needs {wanted}")
        return Units(logits, batch.labels, batch.ids, batch.mix)


@torch.no_grad()
def predict(cohort: Cohort, batches: Iterable[Batch]) -> list[Predictions]:
    """Run every network, in eval mode, over this process's share of a split; the mode is restored afterwards."""
    training = cohort.training
    cohort.eval()
    ids: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    logits: list[list[NDArray[np.float32]]] = [[] for _ in cohort.names]
    for batch in batches:
        ids.append(batch.ids.cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
        for said, output in zip(logits, cohort(batch.views), strict=True):
            said.append(output.logits.float().cpu().numpy())
    cohort.train(training)
    return [Predictions(np.concatenate(ids), np.concatenate(labels), np.concatenate(said)) for said in logits]
