"""SSD with light heads (Liu et al., ECCV 2016; Sandler et al., CVPR 2018)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, InstanceOf
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation, box_iou

from limbeck.core.batch import Output, Pictures
from limbeck.core.config import Count, Flag, Fraction
from limbeck.errors import LimbeckError
from limbeck.models.detector import Channels, Detector, Seen, exact, targets_of, whose
from limbeck.models.stages import Body, Stages

_Maps = Annotated[int, Field(ge=1, le=8)]


class SSDLiteDetector(Detector):
    """SSD with light heads (Liu et al., ECCV 2016; Sandler et al., CVPR 2018).

    Class scores are learned from the anchors that frame things, and three times as many others, the hardest of the
    picture; of a picture without things, from the three hardest. Losses are divided by the number of anchors that frame
    things in the picture (the paper's N; torchvision's N is that of a whole batch).

    Args:
        network: a classifier, of which nothing but its stages is used.
        classes: how many, with the background.
        stages: of these the coarsest so many, at most.
        frozen: keep the classifier's batch norms as they are; those of the heads learn.
        maps: levels in all: the body's, and ever coarser ones after them.
        score: boxes below this probability are not told.
    """

    def __init__(
        self,
        network: InstanceOf[nn.Module],
        classes: Count,
        stages: Stages = 2,
        frozen: Flag = False,
        maps: _Maps = 6,
        score: Fraction = 0.01,
    ) -> None:
        body = Body(network, stages, frozen)
        super().__init__(body, classes)
        channels = [stage.channels for stage in body.stages]
        if maps < len(channels):
            raise LimbeckError(f"SSD on {len(channels)} stages has at least so many maps, not {maps}: raise maps")
        more = [max(64, channels[-1] // 2 ** (i + 1)) for i in range(maps - len(channels))]
        self.extra = nn.ModuleList(
            _downwards(inside, outside) for inside, outside in zip([channels[-1], *more], more, strict=False)
        )
        generator = DefaultBoxGenerator([[2, 3]] * maps, min_ratio=0.2, max_ratio=0.95)
        each = generator.num_anchors_per_location()
        head = exact(SSDLiteHead(channels + more, each, classes, nn.BatchNorm2d))
        self.ssd = SSD(Channels(0), generator, (1, 1), classes, head=head, score_thresh=score)

    def pyramid(self, images: Float[Tensor, "batch 3 height width"]) -> OrderedDict[str, Tensor]:
        """Return the body's maps, and coarser ones."""
        found = OrderedDict(self.body(images))
        last = next(reversed(found.values()))
        for i, layer in enumerate(self.extra):
            found[f"extra{i}"] = last = layer(last)
        return found

    def dense(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Return class scores of anchors, and where to move them."""
        found: dict[str, Tensor] = self.ssd.head(maps)
        return found

    def learn(self, seen: Seen, view: Pictures) -> Output:
        """Choose anchors of each picture, and tell their classes."""
        told, anchors = self._asked(seen)
        logits, moved = told["cls_logits"], told["bbox_regression"]
        places: list[Tensor] = []
        labels: list[Tensor] = []
        weights: list[Tensor] = []
        found: list[Tensor] = []
        for i, target in enumerate(targets_of(view)):
            matched = self._matched(target["boxes"], anchors[i])
            things = torch.where(matched >= 0)[0]
            framed = target["boxes"][matched[things]]
            wanted = self.ssd.box_coder.encode_single(framed, anchors[i][things])
            number = max(1, len(things))
            found.append(functional.smooth_l1_loss(moved[i, things], wanted, reduction="sum") / number)
            others = min(int(self.ssd.neg_to_pos_ratio) * number, len(matched) - len(things))
            hardest = _hardest(logits[i], matched < 0, others)
            places.append(torch.cat([things, hardest]) + i * len(matched))
            labels.append(torch.cat([target["labels"][matched[things]], torch.zeros_like(hardest)]))
            weights.append(logits.new_full((len(labels[-1]),), 1 / number))
        chosen = torch.cat(places)
        beside = whose([len(one) for one in labels], logits) | {"weight": torch.cat(weights)}
        return Output(
            logits.flatten(0, 1)[chosen],
            {
                "labels": torch.cat(labels),
                "places": chosen,
                "grids": _grids(seen),
                **beside,
                "loss_boxes": torch.stack(found).sum(),
            },
        )

    def follow(self, seen: Seen, like: Output) -> Output:
        """Tell the classes of another's anchors.

        Raises:
            LimbeckError: it has other anchors.
        """
        told, _ = self._asked(seen)
        beside = like.beside
        if "places" not in beside:
            raise LimbeckError("SSD can only follow another SSD: let one of the same kind teach it")
        if not torch.equal(beside["grids"], own := _grids(seen)):
            raise LimbeckError(
                f"SSD can only follow another one with the same anchors, and this one has maps of {_sides(own)}, the "
                f"other of {_sides(beside['grids'])}: take backbones, stages and maps that give the same"
            )
        kept = ("labels", "places", "grids", "counts", "pictures", "weight")
        return Output(told["cls_logits"].flatten(0, 1)[beside["places"]], {name: beside[name] for name in kept})

    def find(self, seen: Seen) -> list[dict[str, Tensor]]:
        """Return boxes as torchvision does."""
        told, anchors = self._asked(seen)
        found: list[dict[str, Tensor]] = self.ssd.postprocess_detections(told, anchors, seen.images.image_sizes)
        return found

    def _asked(self, seen: Seen) -> tuple[dict[str, Tensor], list[Tensor]]:
        maps = list(seen.maps.values())
        return self.dense(maps), self.ssd.anchor_generator(seen.images, maps)

    def _matched(self, boxes: Float[Tensor, "boxes 4"], anchors: Float[Tensor, "anchors 4"]) -> Int[Tensor, " anchors"]:
        if not len(boxes):
            return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
        matched: Tensor = self.ssd.proposal_matcher(box_iou(boxes, anchors))
        return matched


def _grids(seen: Seen) -> Int[Tensor, "maps 2"]:
    """Return height and width of each map, by which the anchors are laid out; they stay on the host."""
    return torch.tensor([one.shape[2:] for one in seen.maps.values()])


def _sides(grids: Int[Tensor, "maps 2"]) -> str:
    return ", ".join(f"{height}x{width}" for height, width in grids.tolist())


def _hardest(
    logits: Float[Tensor, "anchors classes"], free: Bool[Tensor, " anchors"], count: int
) -> Int[Tensor, " chosen"]:
    """Return so many free anchors, those that are least believed to be background."""
    with torch.no_grad():
        lost = functional.cross_entropy(
            logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device), reduction="none"
        )
        return lost.masked_fill(~free, -torch.inf).topk(count).indices


def _downwards(inside: int, outside: int) -> nn.Sequential:
    """Return a block that halves a map: 1 × 1, depthwise 3 × 3 of stride 2, 1 × 1."""
    half = outside // 2
    return nn.Sequential(
        Conv2dNormActivation(inside, half, 1, activation_layer=nn.ReLU6),
        Conv2dNormActivation(half, half, 3, stride=2, groups=half, activation_layer=nn.ReLU6),
        Conv2dNormActivation(half, outside, 1, activation_layer=nn.ReLU6),
    )
