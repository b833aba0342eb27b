"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits

from limbeck.core.config import configurable
from limbeck.data.raw import RawImages, RawSplits
from limbeck.data.split import stratified_split
from limbeck.data.views import PadCrop, View

_TEST = 797
_SPLIT_SEED = 0


@configurable
class Digits:
    """1,797 grey digits of 8x8 pixels: 1,000 to train, 797 to test, by a fixed stratified split of our own.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), its test part,
    as bundled with scikit-learn. The values 0..16 are scaled to 0..255. An id is the place among the 1,000,
    in scikit-learn's order.
    """

    name: ClassVar[str] = "digits"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """One pixel of shift; a mirrored digit is another one."""
        return (PadCrop(padding=1),)

    def load(self) -> RawSplits:
        """Read the digits."""
        values, labels = load_digits(return_X_y=True)
        labels = labels.astype(np.int64)
        pixels = torch.from_numpy(np.rint(values * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
        train, test = stratified_split(labels, _TEST, _SPLIT_SEED)
        return RawSplits(
            RawImages(pixels[torch.from_numpy(train)], labels[train]),
            RawImages(pixels[torch.from_numpy(test)], labels[test]),
            classes=tuple(map(str, range(10))),
            mean=(0.3049,),
            std=(0.3755,),
        )
