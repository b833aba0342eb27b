"""CIFAR-10 and CIFAR-100, from the official binary version or from torchvision's folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torchvision import datasets

from limbeck.core.config import configurable
from limbeck.data.raw import RawImages, RawSplits
from limbeck.data.views import Flip, PadCrop, View
from limbeck.errors import LimbeckError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@configurable
class CIFAR10:
    """60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky 2009).

    Read from `root`/cifar-10-batches-bin (the official binary version, preferred, as it holds no pickle) or
    from `root`/cifar-10-batches-py (torchvision's).

    Attributes:
        root: the folder that holds either.
    """

    name: ClassVar[str] = "cifar10"

    root: str | Path = "data"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """The customary ones of all the papers: 4 pixels of shift, and mirroring."""
        return PadCrop(padding=4), Flip()

    def load(self) -> RawSplits:
        """Read both splits.

        Raises:
            LimbeckError: files are missing or broken.
        """
        folder = Path(self.root) / "cifar-10-batches-bin"
        mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
        if not folder.is_dir():
            return _pickled(datasets.CIFAR10, self.root, folder, mean, std)
        train = _binary([folder / f"data_batch_{number}.bin" for number in range(1, 6)], labels=1)
        test = _binary([folder / "test_batch.bin"], labels=1)
        return RawSplits(train, test, _names(folder / "batches.meta.txt", 10), mean, std)


@configurable
class CIFAR100:
    """60,000 colour images of 32x32 pixels in 100 classes (Krizhevsky 2009), with the fine labels.

    Read from `root`/cifar-100-binary (the official binary version, preferred, as it holds no pickle) or from
    `root`/cifar-100-python (torchvision's). The official set has 10 exact duplicates across train and test.

    Attributes:
        root: the folder that holds either.
    """

    name: ClassVar[str] = "cifar100"

    root: str | Path = "data"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """The customary ones of all the papers: 4 pixels of shift, and mirroring."""
        return PadCrop(padding=4), Flip()

    def load(self) -> RawSplits:
        """Read both splits.

        Raises:
            LimbeckError: files are missing or broken.
        """
        folder = Path(self.root) / "cifar-100-binary"
        mean, std = (0.50708, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615)
        if not folder.is_dir():
            return _pickled(datasets.CIFAR100, self.root, folder, mean, std)
        train, test = _binary([folder / "train.bin"], labels=2), _binary([folder / "test.bin"], labels=2)
        return RawSplits(train, test, _names(folder / "fine_label_names.txt", 100), mean, std)


def _binary(files: Sequence[Path], labels: int) -> RawImages:
    """Read records of one or two labels (the last one counts) and 3,072 bytes: channel, row, column."""
    size = labels + _PIXELS
    parts = []
    for file in files:
        if not file.is_file():
            raise LimbeckError(f"{file}: no such file: unpack the official binary version of the data set there")
        content = np.fromfile(file, dtype=np.uint8)
        if not len(content) or len(content) % size:
            raise LimbeckError(
                f"{file}: {len(content):,} bytes is not a whole number of records of {size:,} bytes: "
                "it was cut short, get it again"
            )
        parts.append(content.reshape(-1, size))
    records = np.concatenate(parts)
    pixels = torch.from_numpy(records[:, labels:].copy()).reshape(-1, *_SHAPE)
    return RawImages(pixels, records[:, labels - 1].astype(np.int64))


def _names(file: Path, classes: int) -> tuple[str, ...]:
    """Read the class names beside the records; numbers do where the file was left behind."""
    if not file.is_file():
        return tuple(map(str, range(classes)))
    names = tuple(file.read_text(encoding="utf-8").split())
    if len(names) != classes:
        raise LimbeckError(f"{file}: {len(names)} class names instead of {classes}: get it again, or remove it")
    return names


def _pickled(
    kind: type[datasets.CIFAR10],
    root: str | Path,
    binary: Path,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> RawSplits:
    folder = Path(root) / kind.base_folder
    try:
        train, test = (kind(root, train=part, download=False) for part in (True, False))
    except (RuntimeError, OSError) as error:
        state = "doesn't hold the official files (by their md5)" if folder.is_dir() else "is missing"
        raise LimbeckError(
            f"{folder} {state}, and so is {binary}: unpack the data set to one of them, or set root"
            if state == "is missing"
            else f"{folder} {state}: get it again, or unpack the binary version to {binary}"
        ) from error
    raw = [
        RawImages(torch.from_numpy(part.data.transpose(0, 3, 1, 2).copy()), np.array(part.targets, np.int64))
        for part in (train, test)
    ]
    return RawSplits(raw[0], raw[1], tuple(train.classes), mean, std)
