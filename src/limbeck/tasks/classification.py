"""Image classification: a unit is an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.core.batch import Batch, Output, Units, View
from limbeck.core.cohort import Cohort
from limbeck.core.config import configurable
from limbeck.data.examples import Examples
from limbeck.data.load import Data
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.metrics import TEMPERATURES, accuracy, fit_temperature, nll, summary
from limbeck.models import ModelSpec, task_of
from limbeck.tasks.task import DIVERGED, EvaluatedTask, Setting


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


@configurable
class Classification(EvaluatedTask):
    """The task of naming an image's class."""

    name: ClassVar[str] = "classification"

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

    def check(self, setting: Setting) -> None:
        """Refuse data and networks of other tasks."""
        if not isinstance(setting.data, Data):
            raise ValueError("data.source has no images with classes: set task to the one that it is for")
        if others := [network.name for network in setting.networks if task_of(network) != self.name]:
            raise ValueError(f"model: {others[0]!r} is for {task_of(ModelSpec(others[0]))}: set task to that")

    def trial(self, examples: Examples, device: torch.device) -> tuple[View, str]:
        """Return two black images."""
        return torch.zeros(2, *examples.shape, device=device), f"images of {'×'.join(map(str, examples.shape))}"

    def answers(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Predictions]:
        """Return each network's logits."""
        return predict(cohort, examples.in_order(500, rank, world))

    def joined(self, shares: Sequence[Predictions]) -> Predictions:
        """Return the logits of all images, by ascending id."""
        columns = [torch.cat([torch.from_numpy(column) for column in columns]) for columns in zip(*shares, strict=True)]
        order: Tensor = columns[0].argsort()
        ids, labels, logits = (column[order].numpy() for column in columns)
        if not np.isfinite(logits).all():
            raise NonFiniteLossError(DIVERGED)
        return Predictions(ids, labels, logits)

    def scores(self, said: Predictions) -> dict[str, float]:
        """Return error and NLL."""
        return {"error": 1 - accuracy(said.logits, said.labels), "nll": nll(said.logits, said.labels)}

    def figures(self, said: Predictions, held_out: Predictions | None = None) -> dict[str, float]:
        """Return all figures, and NLL and ECE after temperature scaling fitted on the validation split.

        A split that is answered without a mistake fits no temperature, and there are no scaled figures then.
        """
        figures = summary(said.logits, said.labels)
        if held_out is not None:
            temperature = fit_temperature(held_out.logits, held_out.labels)
            if temperature in TEMPERATURES:
                return figures
            scaled = summary(said.logits / np.float32(temperature), said.labels)
            figures |= {"temperature": temperature, "scaled_nll": scaled["nll"], "scaled_ece": scaled["ece"]}
        return figures

    def arrays(self, said: Predictions) -> dict[str, NDArray[Any]]:
        """Return ids, labels and logits."""
        return said._asdict()

    def together(self, said: Sequence[Predictions]) -> Predictions:
        """Return the mean of the networks' probabilities."""
        return ensemble(said)

    def units_of(self, said: Predictions, device: torch.device) -> Units:
        """Return one unit per image."""
        ids, labels, logits = (torch.from_numpy(column).to(device) for column in said)
        return Units(logits, labels, ids)


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
