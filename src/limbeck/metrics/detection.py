"""How well boxes are found: mean average precision by the rules of PASCAL VOC and of COCO.

All through torchmetrics' `MeanAveragePrecision` with the evaluator faster-coco-eval, so also VOC's figures match boxes
by COCO's rule. What that changes against VOC's own program:

- A box that is found takes the free box of its class that it overlaps most. VOC's compares it with the one that it
  overlaps most of all, and counts it as wrong where that one is taken.
- A box that is ignored (VOC: difficult) takes up every box that is found within it: the overlap is then measured by
  the area of the box that was found (COCO's crowds), where VOC measures it as for others.
- Widths are right - left. VOC's program, which counts pixels, adds 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch

from limbeck.core.boxes import Found, Truth
from limbeck.errors import LimbeckError

# COCO's: of each class in a picture, those of the highest scores.
_MOST = 100
_COCO_OVERLAPS = np.linspace(0.5, 0.95, 10).tolist()
_COCO_RECALLS = np.linspace(0, 1, 101).tolist()
# Quotients, not steps of 0.1: a recall of 3 out of 10 must reach the level 0.3.
_VOC07_RECALLS = [k / 10 for k in range(11)]


def figures_of(found: Found, truth: Truth, classes: Sequence[str]) -> dict[str, float]:
    """Return the figures of `limbeck.metrics.figures.OF_DETECTION`, as fractions, higher is better.

    Each is a mean over the classes that have a box which is not ignored:

    - `voc_map`: the area under the interpolated precision-recall curve at an overlap (intersection over union) of 0.5,
      VOC 2010 and later (Everingham et al. 2015, International Journal of Computer Vision 111, section 4.1).
    - `voc07_map`: the mean of that curve at the recalls 0, 0.1, ..., 1, VOC up to 2009 (Everingham et al. 2010,
      International Journal of Computer Vision 88, equations 1 and 2).
    - `ap`: the mean over the overlaps 0.5, 0.55, ..., 0.95 and the recalls 0, 0.01, ..., 1, COCO (Lin et al. 2014,
      arXiv:1405.0312, and the evaluation at cocodataset.org); `ap50` and `ap75` at overlaps of 0.5 and 0.75.

    COCO's take at most 100 boxes of each class in a picture, those of the highest scores; VOC's take all. Of equal
    scores the earlier box comes first.

    Args:
        found: what the network says.
        truth: what there is.
        classes: names of all K classes, "background" first.

    Raises:
        LimbeckError: faster-coco-eval is missing; every box is ignored, or there is none; a picture or class that is
            not of this split; boxes or scores that are not finite.
    """
    _check(found, truth, len(classes))
    precisions = _voc_precisions(found, truth)
    coco = _evaluate(found, truth, truth.ids, _COCO_OVERLAPS, _COCO_RECALLS, _MOST)
    return {
        "voc_map": float(np.mean([_area(one) for one in precisions.values()])),
        "voc07_map": float(np.mean([one[: len(_VOC07_RECALLS)].mean() for one in precisions.values()])),
        "ap": float(coco["map"]),
        "ap50": float(coco["map_50"]),
        "ap75": float(coco["map_75"]),
    }


def per_class(found: Found, truth: Truth, classes: Sequence[str]) -> dict[str, float]:
    """Return the area under the curve of each class that has a box, the parts of `voc_map`, by name.

    Arguments and errors as of `figures_of`.
    """
    _check(found, truth, len(classes))
    return {classes[label]: _area(one) for label, one in _voc_precisions(found, truth).items()}


def error_of(found: Found, truth: Truth) -> float:
    """Return 1 - `ap50`: what a validation during training goes by, in one pass at a single overlap.

    Arguments and errors as of `figures_of`, but for the classes, which are not checked.
    """
    _check(found, truth, None)
    return 1 - float(_evaluate(found, truth, truth.ids, [0.5], _COCO_RECALLS, _MOST)["map"])


def require_evaluator() -> None:
    """Check that the library of the figures is there.

    Raises:
        LimbeckError: it is not.
    """
    if find_spec("faster_coco_eval") is None:
        raise LimbeckError("mAP needs faster-coco-eval, which is not installed: pip install 'limbeck[detection]'")


def _check(found: Found, truth: Truth, classes: int | None) -> None:
    require_evaluator()
    if truth.ignored.all():
        what = "no picture has a box" if truth.ignored.size == 0 else "all boxes are ignored"
        raise LimbeckError(f"there is nothing to find in these {len(truth.ids)} pictures: {what}, so mAP means nothing")
    for what, of in (("found", found), ("true", truth)):
        others = np.setdiff1d(of.pictures, truth.ids)
        if others.size:
            raise LimbeckError(f"{what} boxes name the picture {others[0]}, which is not in this split")
        if (np.diff(of.pictures) < 0).any():
            raise LimbeckError(
                f"the pictures of the {what} boxes are not in ascending order: sort the boxes by picture"
            )
        if classes is not None and of.classes.size and not 1 <= of.classes.min() <= of.classes.max() < classes:
            lowest, highest = of.classes.min(), of.classes.max()
            raise LimbeckError(f"the classes of {what} boxes go from {lowest} to {highest}, not in 1..{classes - 1}")
    finite = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    if not finite.all():
        where = found.pictures[~finite]
        raise LimbeckError(
            f"{len(where)} of {len(finite)} found boxes have a score or an edge that is not finite, first in picture "
            f"{where[0]}: the network has diverged; lower its learning rate"
        )


def _voc_precisions(found: Found, truth: Truth) -> dict[int, np.ndarray]:
    """Return for each class the interpolated precision at VOC07's recalls, and then amid each step of recall."""
    precisions = {}
    for label in np.unique(truth.classes[~truth.ignored]).tolist():
        here = Found(*(column[found.classes == label] for column in found))
        at = truth.classes == label
        there = Truth(truth.ids, *(column[at] for column in truth[1:]))
        boxes = int((~there.ignored).sum())
        # The curve is a step from each k/n to the next: n points amid them give the exact area.
        recalls = _VOC07_RECALLS + [(k + 0.5) / boxes for k in range(boxes)]
        ids = np.union1d(here.pictures, there.pictures)
        most = max(_MOST, int(np.bincount(np.searchsorted(ids, here.pictures), minlength=1).max()))
        curve = _evaluate(here, there, ids, [0.5], recalls, most, whole=True)["precision"]
        # By overlap, recall, class, area of boxes (all of them first), most boxes of a picture.
        precisions[label] = curve[0, :, 0, 0, -1].numpy()
    return precisions


def _area(precisions: np.ndarray) -> float:
    return float(precisions[len(_VOC07_RECALLS) :].mean())


def _evaluate(
    found: Found,
    truth: Truth,
    ids: np.ndarray,
    overlaps: list[float],
    recalls: list[float],
    most: int,
    *,
    whole: bool = False,
) -> dict[str, torch.Tensor]:
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        iou_thresholds=overlaps,
        rec_thresholds=recalls,
        max_detection_thresholds=[1, 10, most],
        extended_summary=whole,
        backend="faster_coco_eval",
        # every process has all boxes, and some figures are one process's alone
        sync_on_compute=False,
    )
    # It warns of what COCO's rule leaves out.
    metric.warn_on_many_detections = False
    said = {"boxes": found.boxes.astype(np.float64), "labels": found.classes, "scores": found.scores}
    real = {"boxes": truth.boxes.astype(np.float64), "labels": truth.classes, "iscrowd": truth.ignored.astype(np.int64)}
    metric.update(_by_picture(said, found.pictures, ids), _by_picture(real, truth.pictures, ids))
    values: dict[str, torch.Tensor] = metric.compute()
    return values


def _by_picture(columns: dict[str, np.ndarray], pictures: np.ndarray, ids: np.ndarray) -> list[dict[str, torch.Tensor]]:
    counts = np.bincount(np.searchsorted(ids, pictures), minlength=len(ids)).tolist()
    parts = [torch.split(torch.from_numpy(column), counts) for column in columns.values()]
    return [dict(zip(columns, one, strict=True)) for one in zip(*parts, strict=True)]
