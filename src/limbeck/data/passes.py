"""One pass over a split: what depends on the epoch only is computed once, and each batch is a slice of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from limbeck.core.batch import Batch, Mix
from limbeck.data.examples import Members
from limbeck.data.mixing import Mixer, MixPlan
from limbeck.data.order import Itinerary
from limbeck.data.pipeline import Pipeline
from limbeck.data.siblings import same_class


class Role(NamedTuple):
    """The examples that one place in the batches shows: the examples themselves, their partners, their siblings.

    Attributes:
        positions: in the split, in the order of use, int64 [M].
        first: the number of the first view that is shown of them.
    """

    positions: Int64[Tensor, " used"]
    first: int


class Recurrence(NamedTuple):
    """When random views come again.

    Attributes:
        seed: of views, mixing and siblings; None takes the run's.
        cycle: epochs after which they come again; None never repeats them.
    """

    seed: int | None = None
    cycle: int | None = None

    def of(self, seed: int, epoch: int) -> tuple[int, int]:
        """Return the seed and the epoch that a run's epoch draws its views with."""
        return seed if self.seed is None else self.seed, epoch if self.cycle is None else epoch % self.cycle


class Pass:
    """The ids, labels, random numbers and companions of an epoch's batches, on the device, in the order of use.

    Attributes:
        roles: whose images a batch needs, in this order: the examples; their partners where images are mixed; then, if
            asked for, the siblings of each of them.

    Args:
        members: the split.
        route: this process's way through it.
        pipeline: what turns stored images into views.
        mixer: what mixes images, or None.
        seed: of the views.
        epoch: of the views, counts from 0.
        views: how many views of each example.
        siblings: whether another example of the same class comes with each one.
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
        siblings: bool,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        ids, labels = torch.from_numpy(members.ids), torch.from_numpy(members.labels)
        mine = torch.from_numpy(route.positions)
        shown = [Role(mine, 0)]
        if mixer is not None:
            # a partner is of the same shard: what is remembered of it is here, too
            near = torch.from_numpy(route.shard)
            plan, places = mixer.plan(seed, epoch, ids[near], *size), torch.searchsorted(near, mine)
            shown.append(Role(near[plan.partners[places]], 0))
            self._mix = MixPlan(*(column[places].to(device) for column in plan))
        if siblings:
            drawn = same_class(seed, epoch, ids, labels)
            # other views than those of the examples themselves: a sibling may be in the same batch
            shown += [Role(drawn[role.positions], views) for role in shown]
        self._pipeline, self._mixer = pipeline, mixer
        self._labels, self._ids = ([column[role.positions].to(device) for role in shown] for column in (labels, ids))
        self.roles = [Role(role.positions.to(device), role.first) for role in shown]
        self._draws = [
            [pipeline.draws(seed, epoch, role.first + view, own) for view in range(views)]
            for role, own in zip(shown, self._ids, strict=True)
        ]

    def batch(self, piece: slice, images: Sequence[Sequence[Shaped[Tensor, "batch channels height width"]]]) -> Batch:
        """Make a batch of stored images.

        Args:
            piece: which part of the pass.
            images: for each role, for each view, the stored images.
        """
        seen = iter(
            [self._pipeline(image, numbers[piece]) for image, numbers in zip(stored, draws, strict=True)]
            for stored, draws in zip(images, self._draws, strict=True)
        )
        shown = [tuple(group) for group in self._blended(seen, piece)]
        mix = None
        if self._mixer is not None:
            mix = Mix(self._ids[1][piece], self._labels[1][piece], self._mix.weight[piece])
        return Batch(self._ids[0][piece], shown[0], self._labels[0][piece], mix, *shown[1:])

    def _blended(self, seen: Iterator[list[Tensor]], piece: slice) -> Iterator[list[Tensor]]:
        """Mix each role with the one after it, where images are mixed."""
        for own in seen:
            if self._mixer is None:
                yield own
            else:
                weight, boxes = self._mix.weight[piece], self._mix.boxes[piece]
                pairs = zip(own, next(seen), strict=True)
                yield [self._mixer.blend(image, other, weight, boxes) for image, other in pairs]
