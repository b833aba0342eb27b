"""One pass over a split: what depends on the epoch only is computed once, and each batch is a slice of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from limbeck.core.batch import Batch, Mix
from limbeck.data.examples import Members
from limbeck.data.mixing import Mixer, MixPlan
from limbeck.data.order import Itinerary
from limbeck.data.pipeline import Pipeline


class Pass:
    """The ids, labels, random numbers and partners of an epoch's batches, on the device, in the order of use.

    Args:
        members: the split.
        route: this process's way through it.
        pipeline: what turns stored images into views.
        mixer: what mixes images, or None.
        seed: of the views.
        epoch: counts from 0.
        views: how many views of each example.
        size: height and width of the images that are mixed.
        device: where the images are.
    """

    def __init__(
        self,
        members: Members,
        route: Itinerary,
        pipeline: Pipeline,
        mixer: Mixer | None,
        *,
        seed: int,
        epoch: int,
        views: int,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        all_ids, all_labels = torch.from_numpy(members.ids), torch.from_numpy(members.labels)
        positions = torch.from_numpy(route.positions)
        self._pipeline = pipeline
        self._mixer = mixer
        self.positions = positions.to(device)
        self._ids = all_ids[positions].to(device)
        self._labels = all_labels[positions].to(device)
        self._draws = [pipeline.draws(seed, epoch, view, self._ids) for view in range(views)]
        self.partners: Int64[Tensor, " used"] | None = None
        if mixer is not None:
            plan = mixer.plan(seed, epoch, all_ids, *size)
            mine = MixPlan(*(column[positions].to(device) for column in plan))
            self.partners, self._weight, self._boxes = mine
            others = plan.partners[positions]
            self._partner_ids, self._partner_labels = (
                all_ids[others].to(device),
                all_labels[others].to(device),
            )
            self._partner_draws = [pipeline.draws(seed, epoch, view, self._partner_ids) for view in range(views)]

    def batch(
        self,
        piece: slice,
        own: Sequence[Shaped[Tensor, "batch channels height width"]],
        others: Sequence[Shaped[Tensor, "batch channels height width"]],
    ) -> Batch:
        """Make a batch of stored images.

        Args:
            piece: which part of the pass.
            own: for each view, the stored images of these examples.
            others: for each view, those of their partners; empty where nothing is mixed.
        """
        ids, labels = self._ids[piece], self._labels[piece]
        images = [self._pipeline(image, numbers[piece]) for image, numbers in zip(own, self._draws, strict=True)]
        if self._mixer is None:
            return Batch(ids, tuple(images), labels)
        mix = Mix(self._partner_ids[piece], self._partner_labels[piece], self._weight[piece])
        mixed = [
            self._blend(self._mixer, piece, image, self._pipeline(other, numbers[piece]))
            for image, other, numbers in zip(images, others, self._partner_draws, strict=True)
        ]
        return Batch(ids, tuple(mixed), labels, mix)

    def _blend(
        self,
        mixer: Mixer,
        piece: slice,
        own: Float[Tensor, "batch channels height width"],
        other: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch channels height width"]:
        return mixer.blend(own, other, self._weight[piece], self._boxes[piece])
