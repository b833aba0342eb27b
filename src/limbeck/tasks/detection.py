"""Object detection: a unit is a box whose class is told, and the units of a picture count as one together.

Which boxes these are, the detector itself chooses; a teacher, the past model or a peer tells its class scores of the
same ones. Where boxes are, and what a detector without a distribution over classes learns, is beside what is distilled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck import files
from limbeck.core.batch import Batch, Output, Pictures, Units, View
from limbeck.core.boxes import Found, Truth
from limbeck.core.cohort import Cohort
from limbeck.core.config import configurable
from limbeck.data.boxes.examples import BoxExamples
from limbeck.data.boxes.load import BoxData
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.metrics.detection import error_of, figures_of, per_class, require_evaluator
from limbeck.models import task_of
from limbeck.models.table import DETECTORS
from limbeck.tasks.task import DIVERGED, EvaluatedTask, Setting

# pictures that are looked at together, where nothing is learned
_TOGETHER = 4


class Said(NamedTuple):
    """What a network finds in a split, and what is there.

    Attributes:
        found: by the network.
        truth: of the whole split.
        classes: name of each, the background first.
    """

    found: Found
    truth: Truth
    classes: tuple[str, ...]


@configurable
class Detection(EvaluatedTask):
    """The task of finding things in pictures."""

    name: ClassVar[str] = "detection"

    def units(self, output: Output, batch: Batch) -> Units:
        """Return one unit per box whose class is told; none where a detector tells none, such as RetinaNet.

        Raises:
            LimbeckError: the network does not say which boxes these are.
        """
        beside = output.beside
        if not len(output.logits) and "labels" not in beside:
            none = batch.ids[:0]
            return Units(output.logits, none, none)
        if output.logits.ndim != 2 or not {"labels", "pictures", "weight"} <= beside.keys():
            raise LimbeckError(
                "the network does not say which boxes its logits are of; detection needs a detector of limbeck.models, "
                "or one that answers like it"
            )
        return Units(output.logits, beside["labels"], batch.ids[beside["pictures"]], None, beside["weight"])

    def extra(self, output: Output, batch: Batch) -> Mapping[str, Tensor]:
        """Return the losses that no method distils."""
        return {name: value for name, value in output.beside.items() if name.startswith("loss_")}

    def check(self, setting: Setting) -> None:
        """Refuse what is for images, and what would need boxes that come again."""
        method = setting.method
        if not isinstance(setting.data, BoxData):
            raise ValueError("data.source has no boxes: choose voc or coco, or set task to another")
        for network in setting.networks:
            if task_of(network) != self.name:
                raise ValueError(
                    f"model: {network.name!r} is no detector: choose faster_rcnn, retinanet or ssdlite, and name it as "
                    "model.backbone"
                )
        if len({network.name for network in setting.networks}) > 1:
            raise ValueError("peers tell the classes of the same boxes: take one kind of detector")
        kind = setting.networks[0].name
        needs, name = method.needs, f"method: {type(method).__name__}"
        wrong = {
            f"{name} has targets for a distribution over classes, and retinanet's scores are none: take faster_rcnn or "
            "ssdlite, or cross_entropy": kind == "retinanet" and needs.distributions,
            f"{name} remembers each example, and boxes are chosen anew each time: set memory to model, or choose "
            "another": needs.ids,
            f"{name} pairs examples of one class, which pictures have none of": needs.siblings,
            f"{name} makes its students of one classifier": needs.copies > 1,
            f"{name} asks about held-out images": needs.held_out,
            f"{name} shows each student a view of its own, and boxes are compared in one: set views to "
            "shared": needs.own_views,
            "ssdlite's anchors are shares of what it sees, in training that of the largest picture of a step: set "
            "data.square to true": kind == "ssdlite" and not setting.data.square,
            "teacher.cache records answers to images": setting.cached,
            "training.trace sorts images": setting.traced,
            f"training.shuffle {setting.shuffled} keeps images on their processes": setting.shuffled != "global",
        }
        if found := [why for why, holds in wrong.items() if holds]:
            raise ValueError(f"{found[0]} (task is detection)")

    def check_teacher(self, teacher: nn.Module, student: nn.Module, where: str) -> None:
        """Refuse another kind of detector: it does not choose the boxes that the student chooses among."""
        if type(teacher) is not type(student):
            raise LimbeckError(
                f"{where}: the teacher is {_kind(teacher)} and the student {_kind(student)}, and classes are told of "
                "the same boxes: take one kind of detector"
            )

    def trial(self, examples: Examples, device: torch.device) -> tuple[View, str]:
        """Return up to two pictures of the split."""
        require_evaluator()
        return next(iter(_boxes(examples).in_order(2))).views[0], "pictures"

    def answers(self, cohort: Cohort, examples: Examples, rank: int, world: int) -> list[Said]:
        """Return what each network finds."""
        pictures = _boxes(examples)
        training = cohort.training
        cohort.eval()
        found: list[list[Found]] = [[] for _ in cohort.names]
        with torch.no_grad():
            for batch in pictures.in_order(_TOGETHER, rank, world):
                for index, told in enumerate(found):
                    told.append(_found(cohort.alone(index)(batch.views[0]), batch, pictures.sizes))
        cohort.train(training)
        return [Said(_joined(told), pictures.truth, pictures.classes) for told in found]

    def joined(self, shares: Sequence[Said]) -> Said:
        """Return what was found in all pictures, in their order."""
        found = _joined([share.found for share in shares])
        if not (np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()):
            raise NonFiniteLossError(DIVERGED)
        return shares[0]._replace(found=found)

    def scores(self, said: Said) -> dict[str, float]:
        """Return 1 - AP50."""
        return {"error": error_of(said.found, said.truth)}

    def figures(self, said: Said, held_out: Said | None = None) -> dict[str, float]:
        """Return the mean average precisions of VOC and COCO; nothing is fitted on a validation split."""
        return figures_of(said.found, said.truth, said.classes)

    def arrays(self, said: Said) -> dict[str, NDArray[Any]]:
        """Return the boxes that were found."""
        return dict(said.found._asdict())

    def write(self, folder: Path, student: str, said: Said, examples: Examples) -> None:
        """Write what was found in the form of COCO's results, and the average precision of each class.

        Pictures and classes are numbered as they are here, not as a data set may number them; their names stand beside.
        """
        tail = student.removeprefix("student")
        names = _boxes(examples).names
        rows = zip(*(column.tolist() for column in said.found), strict=True)
        told = [
            {
                "image_id": picture,
                "file_name": names[picture],
                "category": said.classes[number],
                "category_id": number,
                "bbox": [round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)],
                "score": round(score, 5),
            }
            for picture, (left, top, right, bottom), number, score in rows
        ]
        files.write(folder / f"detections{tail}.json", json.dumps(told) + "\n")
        each = per_class(said.found, said.truth, said.classes)
        files.write(folder / f"classes{tail}.json", json.dumps(each, indent=2) + "\n")


def _found(output: Output, batch: Batch, sizes: NDArray[np.int64]) -> Found:
    """Return what a network finds in a batch, in pixels of the pictures as they were read."""
    view = batch.views[0]
    assert isinstance(view, Pictures)
    boxes, classes, scores, pictures = (
        output.beside[name].float().cpu().numpy() for name in ("boxes", "classes", "scores", "pictures")
    )
    ids = batch.ids.cpu().numpy()
    of = pictures.astype(np.int64)
    scale = (sizes[ids] / np.array(view.sizes))[of][:, [1, 0, 1, 0]]
    return Found(ids[of], (boxes * scale).astype(np.float32), classes.astype(np.int64), scores)


def _kind(network: nn.Module) -> str:
    names = {builder.build: name for name, builder in DETECTORS.items()}
    return names.get(type(network), "no detector")


def _joined(parts: Sequence[Found]) -> Found:
    return Found._make(np.concatenate(column) for column in zip(*parts, strict=True))


def _boxes(examples: Examples) -> BoxExamples:
    assert isinstance(examples, BoxExamples)
    return examples
