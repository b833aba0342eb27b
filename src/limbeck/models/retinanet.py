"""RetinaNet (Lin et al., ICCV 2017)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from pydantic import InstanceOf
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from limbeck.core.batch import Output, Pictures
from limbeck.core.config import Count, Flag, Fraction, Positive
from limbeck.models.detector import PROPORTIONS, Channels, Detector, Seen, exact, pyramid_of, strides_of, targets_of
from limbeck.models.stages import Body, Stages


class RetinaNetDetector(Detector):
    """RetinaNet (Lin et al., ICCV 2017). Its class scores are yes or no for each class, by the focal loss.

    They are no distribution over classes, so nothing is told of them that soft targets could be for: the whole loss is
    beside the logits, of which there are none.

    Args:
        network: a classifier, of which nothing but its stages is used.
        classes: how many, with the background, which no score is for.
        stages: of these the coarsest so many, at most.
        frozen: keep the classifier's batch norms as they are.
        width: channels of the pyramid.
        anchor: side of the smallest square anchor, in strides of its level.
        score: boxes below this probability are not told.
    """

    def __init__(
        self,
        network: InstanceOf[nn.Module],
        classes: Count,
        stages: Stages = 3,
        frozen: Flag = False,
        width: Count = 256,
        anchor: Positive = 4.0,
        score: Fraction = 0.05,
    ) -> None:
        body = Body(network, stages, frozen)
        super().__init__(body, classes)
        self.fpn = pyramid_of(body, width, LastLevelP6P7(width, width))
        sizes = tuple(tuple(round(anchor * stride * 2 ** (i / 3)) for i in range(3)) for stride in strides_of(body, 2))
        self.retina = RetinaNet(
            Channels(width),
            classes,
            anchor_generator=AnchorGenerator(sizes, (PROPORTIONS,) * len(sizes)),
            score_thresh=score,
        )
        exact(self.retina.head)

    def pyramid(self, images: Float[Tensor, "batch 3 height width"]) -> OrderedDict[str, Tensor]:
        """Return the feature pyramid, with two more levels."""
        found: OrderedDict[str, Tensor] = self.fpn(OrderedDict(self.body(images)))
        return found

    def dense(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Return class scores of anchors, and where to move them."""
        found: dict[str, Tensor] = self.retina.head(maps)
        return found

    def learn(self, seen: Seen, view: Pictures) -> Output:
        """Return the losses alone."""
        told, anchors = self._asked(seen)
        found = self.retina.compute_loss(targets_of(view), told, anchors)
        lost = {
            "loss_classes": found["classification"] * len(view.sizes),
            "loss_boxes": found["bbox_regression"] * len(view.sizes),
        }
        return Output(told["cls_logits"].new_empty(0, self.classes), lost)

    def follow(self, seen: Seen, like: Output) -> Output:
        """Tell nothing, as the other has."""
        return Output(like.logits.detach())

    def find(self, seen: Seen) -> list[dict[str, Tensor]]:
        """Return boxes as torchvision does."""
        told, anchors = self._asked(seen)
        each = self.retina.anchor_generator.num_anchors_per_location()
        counts = [one.shape[2] * one.shape[3] * k for one, k in zip(seen.maps.values(), each, strict=True)]
        levels = {name: list(torch.split_with_sizes(value, counts, 1)) for name, value in told.items()}
        found: list[dict[str, Tensor]] = self.retina.postprocess_detections(
            levels, [list(torch.split_with_sizes(one, counts)) for one in anchors], seen.images.image_sizes
        )
        return found

    def _asked(self, seen: Seen) -> tuple[dict[str, Tensor], list[Tensor]]:
        maps = list(seen.maps.values())
        return self.dense(maps), self.retina.anchor_generator(seen.images, maps)
