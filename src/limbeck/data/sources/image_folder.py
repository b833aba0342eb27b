"""Photographs in folders, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from limbeck.core.config import Count, configurable
from limbeck.data.raw import RawFiles, RawSplits
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.sources.folders import listing, same_classes
from limbeck.data.views import Flip, View
from limbeck.errors import LimbeckError


@configurable
class ImageFolder:
    """`root`/train/<class>/<image>, and `root`/test or else `root`/val as the test set.

    A folder named "val" serves as the test set since validation examples are cut from train, by seed (see
    `Data`). Images may be of any size and colour: they become RGB, and square by a random resized crop (with
    antialias, in the workers) or, for evaluation, by the centre of the image resized to size / 0.875. An id
    is the place among the sorted paths. Normalisation is ImageNet's.

    Attributes:
        root: the folder that holds train/.
        size: side in pixels of what the network sees.
    """

    name: ClassVar[str] = "image_folder"

    root: str | Path
    size: Count = 224

    @property
    def standard_views(self) -> tuple[View, ...]:
        """ImageNet's customary ones: a random resized crop, and mirroring."""
        return RandomResizedCrop(size=self.size), Flip()

    def load(self) -> RawSplits:
        """List the files.

        Raises:
            LimbeckError: a folder is missing or empty, there is only one class, or train and test have
                different ones.
        """
        root = Path(self.root)
        train = listing(root / "train")
        place = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
        if place is None:
            raise LimbeckError(f"{root} has neither a folder test nor val: put the test images in {root / 'test'}")
        test = listing(place)
        same_classes(root / "train", train.classes, place, test.classes)
        raw = [RawFiles(part.paths, part.labels, part.identity, self.size) for part in (train, test)]
        return RawSplits(raw[0], raw[1], train.classes, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
