"""The data of a recipe: a source, its splits and its views, and the tables of their names."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, Strict

from limbeck.core.config import Count, Index, Named, configurable
from limbeck.data.choice import DataChoice, Splits
from limbeck.data.colour import ColourJitter
from limbeck.data.examples import Members, check_labels
from limbeck.data.mixing import CutMix, Mixer, Mixup
from limbeck.data.passes import Recurrence
from limbeck.data.raw import Setting, Source
from limbeck.data.resampling import RandomResizedCrop, Rotation
from limbeck.data.sources.cifar import CIFAR10, CIFAR100
from limbeck.data.sources.digits import Digits
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.sources.mnist import MNIST, FashionMNIST
from limbeck.data.sources.tiny_imagenet import TinyImageNet
from limbeck.data.split import stratified_split, stratified_subset
from limbeck.data.views import Cutout, Flip, PadCrop, View
from limbeck.errors import LimbeckError

SOURCES: Final[dict[str, type[Source]]] = {
    source.name: source for source in (Digits, FashionMNIST, MNIST, CIFAR10, CIFAR100, TinyImageNet, ImageFolder)
}
VIEWS: Final[dict[str, type[View]]] = {
    view.name: view for view in (PadCrop, Flip, RandomResizedCrop, Rotation, ColourJitter, Cutout)
}
MIXES: Final[dict[str, type[Mixer]]] = {mixer.name: mixer for mixer in (CutMix, Mixup)}


_Share = Annotated[float, Strict(), Field(ge=0, lt=1)]


@configurable
class Data(DataChoice):
    """Which images a network learns from, and how they're changed at random.

    Attributes:
        source: where they come from.
        validation: how many training examples are held out (stratified): a share (float) or a number (int); 0
            for none.
        held_out: how many more are held out, a share or a number, for methods that ask their students about examples
            that none of them learns from (the general ensemble of KDCL); with other methods it is left out all the
            same, so that all learn from the same images; 0 for none.
        classes: use only the first so many classes, in the order of their labels; None uses all.
        examples: use only so many training examples (stratified), chosen from what is not held out; None uses all.
        split_seed: of these choices.
        evaluate: what the figures of a finished run are of: the source's "test" set, or the "validation" split, so that
            the test set stays unseen while there is still something to choose; whatever is then said of a test set is
            of that split.
        views: random views; None means those customary for the source.
        mix: how images are mixed; None leaves them alone.
        workers: reading processes of streamed sources; 0 reads in this one. The result is the same.
        view_seed: of views, mixing and siblings, in place of the run's seed, so that runs with other seeds see the same
            views; None takes the run's. The order of the examples is always the run's own.
        cycle: epochs after which views, mixing and siblings come again; None never repeats them.
    """

    source: Annotated[Source, Named(SOURCES)]
    validation: _Share | Index = 0.1
    held_out: _Share | Index = 0
    classes: Annotated[int, Strict(), Field(ge=2)] | None = None
    examples: Count | None = None
    split_seed: Index = 0
    evaluate: Literal["test", "validation"] = "test"
    views: tuple[Annotated[View, Named(VIEWS)], ...] | None = None
    mix: Annotated[Mixer, Named(MIXES)] | None = None
    workers: Index = 2
    view_seed: Index | None = None
    cycle: Count | None = None

    def __post_init__(self) -> None:
        if self.views is None:
            self.views = self.source.standard_views
        if self.evaluate == "validation" and not self.validation:
            raise ValueError("evaluate: validation needs a validation split: set validation")

    @property
    def validated(self) -> bool:
        """Whether there is a validation split."""
        return bool(self.validation)

    @property
    def holds_out(self) -> bool:
        """Whether there are held-out examples beside it."""
        return bool(self.held_out)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed."""
        return self.mix is not None

    def tested_alone(self, run: Any) -> dict[str, Any]:
        """Return changes that cut nothing and change nothing at random: other data need not allow what these did."""
        whole = {} if self.evaluate == "validation" else {"validation": 0}
        return {**whole, "held_out": 0, "examples": None, "views": [], "mix": None}

    @property
    def evaluated(self) -> Literal["test", "validation"]:
        """What figures are of."""
        return self.evaluate

    def load(self, device: torch.device | str) -> Splits:
        """Read the source and cut it.

        Raises:
            LimbeckError: files are missing or broken, or the examples can't be cut so.
        """
        raw = self.source.load()
        check_labels(raw.train.labels, len(raw.classes), f"the training set of {self.source.name}")
        check_labels(raw.test.labels, len(raw.classes), f"the test set of {self.source.name}")
        classes = self._used(raw.classes)
        labels, space = raw.train.labels, len(raw.train.labels)
        kept = np.flatnonzero(labels < len(classes))
        cut: list[NDArray[np.int64] | None] = []
        for count in (self.validation, self.held_out):
            away = None
            if count:
                kept, away = (kept[part] for part in stratified_split(labels[kept], count, self.split_seed))
            cut.append(away)
        if self.examples is not None:
            kept = kept[stratified_subset(labels[kept], self.examples, self.split_seed)]
        plain = Setting(raw.mean, raw.std, (), None, self.workers, device)
        changed = plain._replace(
            views=self.views or (), mix=self.mix, recurrence=Recurrence(self.view_seed, self.cycle)
        )
        train = raw.train.examples(Members(kept, labels[kept], space, classes), changed)
        validation, held_out = (
            None if away is None else raw.train.examples(Members(away, labels[away], space, classes), plain)
            for away in cut
        )
        if self.evaluate == "validation" and validation is not None:
            return Splits(train, validation, validation, held_out)
        own = raw.test.labels
        asked = np.flatnonzero(own < len(classes))
        test = raw.test.examples(Members(asked, own[asked], len(own), classes), plain)
        return Splits(train, validation, test, held_out)

    def known_classes(self) -> tuple[str, ...]:
        """Read the source, and return the names of the classes that are used.

        Raises:
            LimbeckError: files are missing or broken, or there are not so many classes.
        """
        return self._used(self.source.load().classes)

    def _used(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        if self.classes is not None and self.classes > len(classes):
            raise LimbeckError(
                f"data.classes is {self.classes}, but {self.source.name} has {len(classes)}: lower it, or leave it out"
            )
        return classes[: self.classes]
