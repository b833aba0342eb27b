"""MNIST and Fashion-MNIST, from the official files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from torchvision import datasets

from limbeck.core.config import configurable
from limbeck.data.raw import RawImages, RawSplits
from limbeck.data.views import Flip, PadCrop, View
from limbeck.errors import LimbeckError


@configurable
class MNIST:
    """70,000 grey digits of 28x28 pixels (LeCun et al. 1998).

    Read from `root`/MNIST/raw, torchvision's layout.

    Attributes:
        root: the folder that holds MNIST/.
    """

    name: ClassVar[str] = "mnist"

    root: str | Path = "data"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """A small shift; a mirrored digit is another one."""
        return (PadCrop(padding=2),)

    def load(self) -> RawSplits:
        """Read both splits.

        Raises:
            LimbeckError: files are missing or broken.
        """
        train, classes = _read(datasets.MNIST, self.root, train=True)
        test, _ = _read(datasets.MNIST, self.root, train=False)
        return RawSplits(train, test, classes, mean=(0.1307,), std=(0.3081,))


@configurable
class FashionMNIST:
    """70,000 grey pictures of clothes, 28x28 pixels (Xiao et al. 2017).

    Read from `root`/FashionMNIST/raw, torchvision's layout.

    Attributes:
        root: the folder that holds FashionMNIST/.
    """

    name: ClassVar[str] = "fashion_mnist"

    root: str | Path = "data"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """A small shift, and mirroring."""
        return PadCrop(padding=2), Flip()

    def load(self) -> RawSplits:
        """Read both splits.

        Raises:
            LimbeckError: files are missing or broken.
        """
        train, classes = _read(datasets.FashionMNIST, self.root, train=True)
        test, _ = _read(datasets.FashionMNIST, self.root, train=False)
        return RawSplits(train, test, classes, mean=(0.2860,), std=(0.3530,))


def _read(kind: type[datasets.MNIST], root: str | Path, *, train: bool) -> tuple[RawImages, tuple[str, ...]]:
    folder = Path(root) / kind.__name__ / "raw"
    try:
        found = kind(root, train=train, download=False)
    # torchvision checks the files by assertions and by whatever a short one makes torch raise.
    except (RuntimeError, ValueError, AssertionError, OSError) as error:
        state = "its files are broken" if folder.is_dir() and any(folder.iterdir()) else "there is nothing there"
        raise LimbeckError(
            f"{folder}: can't read {kind.__name__}, {state}: "
            "put its four official idx files there, unpacked, or set root"
        ) from error
    return RawImages(found.data[:, None], found.targets.numpy().astype(np.int64)), tuple(found.classes)
