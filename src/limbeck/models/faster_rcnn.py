"""Faster R-CNN with a feature pyramid (Ren et al., NeurIPS 2015; Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from pydantic import InstanceOf
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import LevelMapper

from limbeck.core.batch import Output, Pictures
from limbeck.core.config import Count, Flag, Fraction, Positive
from limbeck.errors import LimbeckError
from limbeck.models.detector import PROPORTIONS, Detector, Seen, exact, pyramid_of, strides_of, targets_of, whose
from limbeck.models.stages import Body, Stages

# What the random bits of a picture are used for.
_ANCHORS, _BOXES = 1, 2
_SIDE = 7  # of what is read of a box


class FasterRCNNDetector(Detector):
    """Faster R-CNN with a feature pyramid.

    Args:
        network: a classifier, of which nothing but its stages is used.
        classes: how many, with the background.
        stages: of these the coarsest so many, at most.
        frozen: keep the classifier's batch norms as they are, as is customary where batches are small.
        width: channels of the pyramid.
        head: neurons in each of the two layers that read a box.
        boxes: so many proposals of each picture are drawn, a quarter of them of things, to learn class scores from.
        anchor: side of a square anchor, in strides of its level.
        score: boxes below this probability are not told.
    """

    def __init__(
        self,
        network: InstanceOf[nn.Module],
        classes: Count,
        stages: Stages = 4,
        frozen: Flag = False,
        width: Count = 256,
        head: Count = 1024,
        boxes: Count = 512,
        anchor: Positive = 8.0,
        score: Fraction = 0.05,
    ) -> None:
        body = Body(network, stages, frozen)
        super().__init__(body, classes)
        self.fpn = pyramid_of(body, width, LastLevelMaxPool())
        strides = strides_of(body, 1)
        anchors = AnchorGenerator(tuple((round(anchor * stride),) for stride in strides), (PROPORTIONS,) * len(strides))
        most = {"training": 2000, "testing": 1000}
        self.rpn = _EachPicture(
            anchors,
            exact(RPNHead(width, len(PROPORTIONS))),
            0.7,
            0.3,
            256,
            0.5,
            pre_nms_top_n=most,
            post_nms_top_n=most,
            nms_thresh=0.7,
        )
        self.roi_heads = RoIHeads(
            _pool(body),
            TwoMLPHead(width * _SIDE**2, head),
            exact(FastRCNNPredictor(head, classes)),
            0.5,
            0.5,
            boxes,
            0.25,
            None,
            score,
            0.5,
            100,
        )
        self._anchors, self._boxes = _Drawn(256, 0.5, _ANCHORS), _Drawn(boxes, 0.25, _BOXES)
        self.rpn.fg_bg_sampler, self.roi_heads.fg_bg_sampler = self._anchors, self._boxes

    def pyramid(self, images: Float[Tensor, "batch 3 height width"]) -> OrderedDict[str, Tensor]:
        """Return the feature pyramid, with one more level."""
        found: OrderedDict[str, Tensor] = self.fpn(OrderedDict(self.body(images)))
        return found

    def dense(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return how much anchors are like a thing, and where to move them."""
        found: tuple[list[Tensor], list[Tensor]] = self.rpn.head(maps)
        return found

    def learn(self, seen: Seen, view: Pictures) -> Output:
        """Draw anchors and proposals of each picture, and tell the classes of the proposals."""
        targets = targets_of(view)
        self._anchors.begin(view.words)
        self._boxes.begin(view.words)
        proposals, found = self.rpn(seen.images, seen.maps, targets)
        boxes, _, labels, wanted = self.roi_heads.select_training_samples(proposals, targets)
        logits, moved = self._judged(seen, boxes)
        counts = [len(one) for one in boxes]
        parts = zip(
            torch.split_with_sizes(logits.detach(), counts),
            torch.split_with_sizes(moved, counts),
            labels,
            wanted,
            strict=True,
        )
        # of a picture without proposals there is no mean
        lost_by = [fastrcnn_loss(one, by, [told], [to])[1] for one, by, told, to in parts if len(told)]
        lost = {
            "loss_objectness": found["loss_objectness"],
            "loss_proposals": found["loss_rpn_box_reg"],
            "loss_boxes": torch.stack([moved.sum() * 0, *lost_by]).sum(),
        }
        return Output(logits, {"labels": torch.cat(labels), "boxes": torch.cat(boxes), **whose(counts, logits), **lost})

    def follow(self, seen: Seen, like: Output) -> Output:
        """Tell the classes of another's boxes.

        Raises:
            LimbeckError: it has not chosen boxes.
        """
        beside = like.beside
        if "boxes" not in beside:
            raise LimbeckError("Faster R-CNN can only follow another one: let one of the same kind teach it")
        logits, _ = self._judged(seen, list(torch.split_with_sizes(beside["boxes"], beside["counts"].tolist())))
        kept = ("labels", "boxes", "counts", "pictures", "weight")
        return Output(logits, {name: beside[name] for name in kept})

    def find(self, seen: Seen) -> list[dict[str, Tensor]]:
        """Return boxes as torchvision does."""
        proposals, _ = self.rpn(seen.images, seen.maps)
        found: list[dict[str, Tensor]] = self.roi_heads(seen.maps, proposals, seen.images.image_sizes)[0]
        return found

    def _judged(self, seen: Seen, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the class logits of boxes, and where each class would move them."""
        read = self.roi_heads.box_roi_pool(seen.maps, boxes, seen.images.image_sizes)
        logits, moved = self.roi_heads.box_predictor(self.roi_heads.box_head(read))
        return logits, moved


class _EachPicture(RegionProposalNetwork):  # type: ignore[misc]
    """Proposes boxes; its losses are means over the anchors drawn of one picture, summed over pictures."""

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: Sequence[Tensor],
        regression_targets: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        parts = zip(
            objectness.view(len(labels), -1),
            pred_bbox_deltas.view(len(labels), -1, 4),
            labels,
            regression_targets,
            strict=True,
        )
        found = [super(_EachPicture, self).compute_loss(one, by, [told], [to]) for one, by, told, to in parts]
        objects, moved = (torch.stack(column).sum() for column in zip(*found, strict=True))
        return objects, moved


class _Drawn:
    """Draws so many of each picture, things and others, by the picture's own random bits.

    Args:
        most: of a picture.
        things: share of things at most.
        use: tells apart what the same bits are used for.
    """

    def __init__(self, most: int, things: float, use: int) -> None:
        self.most, self.things, self.use = most, int(most * things), use
        self._words: Iterator[int] = iter(())

    def begin(self, words: Sequence[int]) -> None:
        """Take the bits of the pictures that come next."""
        self._words = iter(words)

    def __call__(self, labels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return masks of the things and of the others that are drawn, of each picture.

        Args:
            labels: of each picture's candidates: 1 and above are things, 0 others; below 0 neither.
        """
        drawn = [self._draw(one, next(self._words)) for one in labels]
        return [things for things, _ in drawn], [others for _, others in drawn]

    def _draw(self, labels: Tensor, word: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed((word ^ self.use) & (2**63 - 1))
        things, others = torch.where(labels >= 1)[0], torch.where(labels == 0)[0]
        count = min(len(things), self.things)
        return (
            _mask(labels, things, count, generator),
            _mask(labels, others, min(len(others), self.most - count), generator),
        )


def _mask(like: Tensor, places: Int[Tensor, " places"], count: int, generator: torch.Generator) -> Tensor:
    """Return 1 at some of the places, drawn on the host, which draws the same for every device."""
    chosen = torch.randperm(len(places), generator=generator)[:count].to(places.device)
    mask = torch.zeros_like(like, dtype=torch.uint8)
    mask[places[chosen]] = 1
    return mask


def _pool(body: Body) -> MultiScaleRoIAlign:
    """Return what reads boxes from the pyramid, with each level's stride.

    torchvision would guess the strides from the first images, and guess wrong where they are small in their batch.
    """
    pool = MultiScaleRoIAlign([stage.path for stage in body.stages], output_size=_SIDE, sampling_ratio=2)
    pool.scales = [1 / stage.stride for stage in body.stages]
    pool.map_levels = _Levels([stage.stride.bit_length() - 1 for stage in body.stages])
    return pool


class _Levels(LevelMapper):  # type: ignore[misc]
    """Tells which map a box is read from: of its size's level, or of the nearest finer one that there is.

    torchvision takes for granted that each map is half as large as the one before it.

    Args:
        levels: binary logarithm of each map's stride, ascending.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(levels[0], levels[-1])
        self.levels = levels

    def __call__(self, boxlists: list[Tensor]) -> Int[Tensor, " boxes"]:
        level = super().__call__(boxlists) + self.k_min
        return torch.stack([level >= other for other in self.levels[1:]]).sum(0)
