"""The data of a detection recipe."""

from __future__ import annotations

from typing import Annotated

import torch

from limbeck.core.config import Count, Flag, Fraction, Index, Named, Positive, configurable
from limbeck.data.boxes.annotations import Scenes
from limbeck.data.boxes.examples import BoxExamples, BoxSetting
from limbeck.data.boxes.sizing import Sizing
from limbeck.data.boxes.sources import BOX_SOURCES, BoxSource
from limbeck.data.boxes.views import BOX_VIEWS, IMAGENET_MEAN, BoxFlip, BoxView
from limbeck.data.choice import DataChoice, Splits

_LONGER = 1333


@configurable
class BoxData(DataChoice):
    """Which pictures with boxes a network learns from, how large it sees them, and how they are changed at random.

    Attributes:
        source: where they come from.
        examples: use only the first so many training pictures; None uses all.
        tested: use only the first so many pictures of the validation and of the test split; None uses all.
        shorter: pixels of a picture's shorter side as the network sees it.
        longer: at most so many on the longer side; the shorter one becomes shorter still where it must.
        square: stretch pictures to `shorter` on both sides.
        mean: of red, green and blue, in [0, 1].
        std: of red, green and blue.
        views: random views, in this order; None mirrors half of the pictures.
        workers: reading processes; 0 reads in this one. The result is the same.
        drop: leave out boxes that have no area or lie outside their picture, and clip those that stick out; without it
            they are refused.
    """

    source: Annotated[BoxSource, Named(BOX_SOURCES)]
    examples: Count | None = None
    tested: Count | None = None
    shorter: Count = 800
    longer: Count = _LONGER
    square: Flag = False
    mean: tuple[Fraction, Fraction, Fraction] = IMAGENET_MEAN
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    views: tuple[Annotated[BoxView, Named(BOX_VIEWS)], ...] | None = None
    workers: Index = 2
    drop: Flag = False

    def __post_init__(self) -> None:
        if self.views is None:
            self.views = (BoxFlip(),)
        if self.square and self.longer != _LONGER:
            raise ValueError("square pictures have sides of shorter: leave longer out")
        if not self.square and self.longer < self.shorter:
            raise ValueError(f"longer is {self.longer}, but shorter is {self.shorter}: raise longer")

    @property
    def validated(self) -> bool:
        """Whether the source has a validation split."""
        return self.source.validation is not None

    def load(self, device: torch.device | str) -> Splits:
        """Read the annotations; the pictures are read when they are needed.

        Raises:
            LimbeckError: files are missing or broken, a class is unknown, or a box has no area or lies outside its
                picture.
        """
        plain = BoxSetting(
            Sizing(self.shorter, self.longer, self.square), self.mean, self.std, (), self.workers, device
        )
        splits = self.source.load()
        train = self._examples(splits.train.first(self.examples), plain._replace(views=self.views or ()))
        validation, test = (
            None if split is None else self._examples(split.first(self.tested), plain)
            for split in (splits.validation, splits.test)
        )
        assert test is not None
        return Splits(train, validation, test)

    def known_classes(self) -> tuple[str, ...]:
        """Read the annotations, and return the names of the classes, the background first.

        Raises:
            LimbeckError: a file is missing or broken, or a class is unknown.
        """
        return self.source.load().train.classes

    def _examples(self, scenes: Scenes, setting: BoxSetting) -> BoxExamples:
        return BoxExamples(scenes.whole(self.drop), setting)
