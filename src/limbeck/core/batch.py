"""The nouns of one training step. Named tuples of tensors: immutable, typed, cheap, and every engine can move them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Mix(NamedTuple):
    """The other image of a mixed one (CutMix, Mixup).

    Attributes:
        ids: the partner's example id, int64 [B].
        labels: the partner's class, int64 [B].
        weight: the share of the example's **own** image and label, float [B] in [0, 1]; 1 where nothing was mixed in.
    """

    ids: Int[Tensor, " batch"]
    labels: Int[Tensor, " batch"]
    weight: Float[Tensor, " batch"]


class Sentences(NamedTuple):
    """What a translating network reads. Its logits are those of the real target tokens alone, row by row: [U, K].

    Attributes:
        source: int64 [B, S], padded with 0 behind.
        target: int64 [B, T], before each token to be told the one that stands before it; padded with 0 behind.
        places: int64 [U], where the real tokens are among the B · T of the target, ascending.
    """

    source: Int[Tensor, "batch source"]
    target: Int[Tensor, "batch target"]
    places: Int[Tensor, " units"]


class Pictures(NamedTuple):
    """What a detecting network reads and, where it learns, what there is to be found.

    What is no tensor stays on the host, so that nobody waits for a device to learn it.

    Attributes:
        images: float [B, C, H, W], normalised: each picture in the upper left corner, zeros beside it.
        sizes: height and width of each picture in there, in pixels.
        boxes: float [N, 4], picture after picture: left, top, right and bottom, in pixels of `images`.
        classes: int64 [N], what is in each box, 1..K-1; 0 is the background, which no box has.
        counts: how many boxes each picture has; they add up to N.
        words: for each picture 64 random bits of its own, by which a network draws what it learns from.
    """

    images: Float[Tensor, "batch channels height width"]
    sizes: tuple[tuple[int, int], ...]
    boxes: Float[Tensor, "boxes 4"]
    classes: Int[Tensor, " boxes"]
    counts: tuple[int, ...]
    words: tuple[int, ...]


# What one network reads at a time: images [B, C, H, W], or tensors that belong together: `Sentences`, `Pictures`.
View: TypeAlias = Tensor | tuple[Any, ...]


class Batch(NamedTuple):
    """What the network sees, and whose it is. B counts units: images, or the target tokens of sentences.

    Attributes:
        ids: int64 [B], the identity of each unit: it never changes, whatever the order, split or process.
        views: one or more random views of the same examples, of images float [B, C, H, W] each.
        labels: int64 [B].
        mix: the images mixed into these ones, or None.
        siblings: for each view, one of another example of the same class, float [B, C, H, W] (mixed as the views are);
            empty where nobody asks for them.
    """

    ids: Int[Tensor, " batch"]
    views: tuple[View, ...]
    labels: Int[Tensor, " batch"]
    mix: Mix | None = None
    siblings: tuple[View, ...] = ()

    def images(self, number: int = 0) -> Float[Tensor, "batch channels height width"]:
        """Return a view, of a batch of images."""
        view = self.views[number]
        assert isinstance(view, Tensor)
        return view


class Output(NamedTuple):
    """What a network answered.

    Attributes:
        logits: float [U, K].
        beside: what else it answered or found, by name, which the task reads: boxes, labels of what it sampled.
    """

    logits: Float[Tensor, "*batch classes"]
    beside: Mapping[str, Tensor] = MappingProxyType({})


class Units(NamedTuple):
    """The things that are classified: an image each, or a target token, or a sampled box.

    Attributes:
        logits: float [U, K].
        labels: int64 [U].
        ids: int64 [U], the example (or token) that a unit's past predictions are filed under.
        mix: partner label and weight of each unit, or None.
        weight: float [U], what each unit counts in sums, where examples have several that count as one together, so
            that examples are what sums are divided by; None where each unit counts 1.
    """

    logits: Float[Tensor, "units classes"]
    labels: Int[Tensor, " units"]
    ids: Int[Tensor, " units"]
    mix: Mix | None = None
    weight: Float[Tensor, " units"] | None = None

    def rows(self, which: slice) -> Units:
        """Return some of the units."""
        mix = None if self.mix is None else Mix(*(column[which] for column in self.mix))
        weight = None if self.weight is None else self.weight[which]
        return Units(self.logits[which], self.labels[which], self.ids[which], mix, weight)

    def by_label(
        self, rows: Callable[[Int[Tensor, " units"]], Float[Tensor, "units classes"]]
    ) -> Float[Tensor, "units classes"]:
        """Return `rows(labels)`; of a mixed unit, the rows of its two labels by their shares."""
        own = rows(self.labels)
        if self.mix is None:
            return own
        return torch.lerp(rows(self.mix.labels), own, self.mix.weight.to(own.dtype)[:, None])


class Clock(NamedTuple):
    """Where training stands. `epoch` and `step` count from 0.

    Attributes:
        epoch: epochs completed.
        epochs: epochs in all.
        step: optimiser steps completed.
        steps: optimiser steps in all; 0 where they are not counted.
    """

    epoch: int
    epochs: int
    step: int = 0
    steps: int = 0

    @property
    def opens_epoch(self) -> bool:
        """Whether the step is the first of an epoch; never where steps are not counted."""
        return 0 < self.steps >= self.epochs and self.step * self.epochs % self.steps == 0
