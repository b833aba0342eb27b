"""What torchvision's detectors have in common here: they stand on the stages of any classifier, and learn from targets.

Layers, anchors, matching, box coding and non-maximum suppression are torchvision's. What is ours is that every picture
counts alike, however a batch is cut: what is drawn of a picture depends on its own random bits, and losses are means
over what is drawn of one picture, summed over pictures. With as many boxes in each picture, as there mostly are, this
is torchvision's own mean over a batch.

A detector chooses what it learns class scores from: Faster R-CNN boxes among its proposals, SSD anchors that are hard.
Given another's output, it tells its class scores of the other's choice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from limbeck.core.batch import Output, Pictures, View
from limbeck.errors import LimbeckError
from limbeck.models.stages import Body

# torchvision's anchors: height to width
PROPORTIONS = (0.5, 1.0, 2.0)


class Seen(NamedTuple):
    """What a detector sees of a view: the images with their sizes, and their maps."""

    images: ImageList
    maps: OrderedDict[str, Tensor]


class Detector(nn.Module, ABC):
    """A network that finds things in pictures.

    In training mode its output is what it learns from: `logits` [U, K] of what it has chosen, and beside them `labels`
    and `pictures` (int64 [U], number within the batch), `weight` (float [U], what each counts, so that a picture counts
    1 or as its paper has it), `counts` of each picture's units, what was chosen, and further losses, sums over the
    pictures, by names that begin with `loss_`. In eval mode there are no logits, but `boxes` [D, 4] in pixels of the
    view's images, `classes`, `scores` and `pictures` [D], picture after picture, the highest scores first.

    Attributes:
        body: the classifier's stages.
        chooses: it can follow another's choice.

    Args:
        body: the classifier's stages.
        classes: how many, with the background, which is 0.
    """

    chooses: ClassVar[bool] = True

    def __init__(self, body: Body, classes: int) -> None:
        super().__init__()
        self.body, self.classes = body, classes
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    @abstractmethod
    def pyramid(self, images: Float[Tensor, "batch 3 height width"]) -> OrderedDict[str, Tensor]:
        """Return the maps that boxes are found in, from the finest to the coarsest."""

    @abstractmethod
    def dense(self, maps: list[Tensor]) -> Any:
        """Return what is said of every place of these maps."""

    @abstractmethod
    def learn(self, seen: Seen, view: Pictures) -> Output:
        """Return what is learned from."""

    @abstractmethod
    def follow(self, seen: Seen, like: Output) -> Output:
        """Return the class scores of what another has chosen."""

    @abstractmethod
    def find(self, seen: Seen) -> list[dict[str, Tensor]]:
        """Return boxes, labels and scores of each picture."""

    def forward(self, view: View, like: Output | None = None) -> Output:
        """Answer as the class says.

        Args:
            view: pictures; or images alone, which nothing else is known of.
            like: another detector's output in training mode on the same pictures, whose choice is followed.

        Raises:
            LimbeckError: another kind of view.
        """
        if isinstance(view, Tensor):
            view = _alone(view)
        if not isinstance(view, Pictures):
            raise LimbeckError(f"a detector reads pictures, not {type(view).__name__}: set task to detection")
        images = self._readable(view)
        maps = OrderedDict((name, _raised(one)) for name, one in self.pyramid(images).items())
        if images.is_meta:
            # without numbers there is nothing to find; what is asked for is the shape of the layers
            self.dense(list(maps.values()))
            return Output(images.new_empty(0, self.classes))
        seen = Seen(ImageList(images, list(view.sizes)), maps)
        if like is not None and not self.training:
            return self.follow(seen, like)
        if self.training:
            learned = self.learn(seen, view)
            if like is None:
                return learned
            # where boxes are it learns for itself; what they are, of the other's choice
            told = self.follow(seen, like)
            own = {name: value for name, value in learned.beside.items() if name.startswith("loss_")}
            return Output(told.logits, {**told.beside, **own})
        return self._told(self.find(seen), images)

    def meet(self, scale: Float[Tensor, "3 1 1"], shift: Float[Tensor, "3 1 1"]) -> None:
        """Let the body read images that are normalised otherwise: as `scale` × image + `shift`."""
        self.scale.copy_(scale)
        self.shift.copy_(shift)

    def _readable(self, view: Pictures) -> Float[Tensor, "batch 3 height width"]:
        """Return the images as the body reads them; beside them there are zeros."""
        images = view.images * self.scale + self.shift
        for image, (height, width) in zip(images, view.sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return images

    def _told(self, found: Sequence[dict[str, Tensor]], images: Tensor) -> Output:
        counts = torch.tensor([len(one["scores"]) for one in found], device=images.device)
        pictures = torch.repeat_interleave(torch.arange(len(found), device=images.device), counts)
        boxes, scores, classes = (torch.cat([one[name] for one in found]) for name in ("boxes", "scores", "labels"))
        beside = {"boxes": boxes, "scores": scores, "classes": classes, "pictures": pictures}
        return Output(images.new_empty(0, self.classes), beside)


class Channels(nn.Module):
    """Stands where torchvision's detectors have their backbone, of which they ask the number of channels alone."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


def exact(head: nn.Module) -> nn.Module:
    """Let what a head answers be float32 where it computes in half precision, in which boxes are pixels off."""
    head.register_forward_hook(_raise_answers)
    return head


def pyramid_of(body: Body, width: int, more: ExtraFPNBlock) -> FeaturePyramidNetwork:
    """Return a feature pyramid on a body's stages.

    Args:
        body: the stages.
        width: channels of every level.
        more: what makes the coarser levels.
    """
    return FeaturePyramidNetwork([stage.channels for stage in body.stages], width, more)


def strides_of(body: Body, more: int) -> list[int]:
    """Return the strides of a body's stages, and of so many coarser levels, each twice as coarse."""
    own = [stage.stride for stage in body.stages]
    return own + [own[-1] * 2 ** (i + 1) for i in range(more)]


def targets_of(view: Pictures) -> list[dict[str, Tensor]]:
    """Return what there is to be found in each picture, as torchvision has it."""
    boxes, classes = torch.split_with_sizes(view.boxes, view.counts), torch.split_with_sizes(view.classes, view.counts)
    return [{"boxes": one, "labels": of} for one, of in zip(boxes, classes, strict=True)]


def whose(counts: Sequence[int], like: Tensor) -> dict[str, Tensor]:
    """Return the picture and the weight of each unit, and the number of each picture's, which stays on the host.

    Args:
        counts: of each picture's units.
        like: a tensor on the device and of the type that weights shall have.
    """
    each = torch.tensor(counts)
    pictures = torch.repeat_interleave(torch.arange(len(counts)), each)
    weight = (1 / each.clamp(min=1).to(like.dtype))[pictures]
    return {"counts": each, "pictures": pictures.to(like.device), "weight": weight.to(like.device)}


def _raise_answers(head: nn.Module, inputs: Any, answers: Any) -> Any:
    if isinstance(answers, dict):
        return {name: _raised(one) for name, one in answers.items()}
    return tuple([_raised(one) for one in part] if isinstance(part, list) else _raised(part) for part in answers)


def _raised(values: Tensor) -> Tensor:
    """Return values of half precision as float32, in which every pixel of a picture has a number."""
    return values.float() if values.dtype in {torch.float16, torch.bfloat16} else values


def _alone(images: Float[Tensor, "batch 3 height width"]) -> Pictures:
    count, _, height, width = images.shape
    none = torch.empty(0, dtype=torch.int64, device=images.device)
    return Pictures(images, ((height, width),) * count, images.new_empty(0, 4), none, (0,) * count, (0,) * count)
