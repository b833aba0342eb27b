"""Tiny-ImageNet, or some of its classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limbeck.core.config import configurable
from limbeck.data.raw import RawImages, RawSplits
from limbeck.data.readers import decode
from limbeck.data.sources.folders import Listing, listing, same_classes
from limbeck.data.views import Flip, PadCrop, View
from limbeck.errors import LimbeckError

_SIZE = 64


@configurable
class TinyImageNet:
    """100,000 + 10,000 colour images of 64x64 pixels in 200 classes (Stanford CS231n).

    They are decoded once and kept in memory.

    Both layouts are read: the official one (train/<wnid>/images/*.JPEG, val/images with
    val/val_annotations.txt) and a folder per class (train/<wnid>/*.JPEG, val/<wnid>/*.JPEG). The official
    val, which has labels, is the test set. Grey images become RGB. An id is the place among the sorted paths.

    Attributes:
        root: the folder that holds train/ and val/.
    """

    name: ClassVar[str] = "tiny_imagenet"

    root: str | Path = "data/tiny-imagenet-200"

    @property
    def standard_views(self) -> tuple[View, ...]:
        """An eighth of shift, as with CIFAR, and mirroring."""
        return PadCrop(padding=8), Flip()

    def load(self) -> RawSplits:
        """Decode both splits.

        Raises:
            LimbeckError: files are missing or broken, or train and val have different classes.
        """
        train_folder, test_folder = Path(self.root) / "train", Path(self.root) / "val"
        train = listing(train_folder)
        annotations = test_folder / "val_annotations.txt"
        if annotations.is_file():
            test = _annotated(annotations, train.classes)
        else:
            test = listing(test_folder)
            same_classes(train_folder, train.classes, test_folder, test.classes)
        raw = [RawImages(_decoded(part.paths), part.labels) for part in (train, test)]
        mean, std = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
        return RawSplits(raw[0], raw[1], train.classes, mean, std)


def _annotated(annotations: Path, classes: tuple[str, ...]) -> Listing:
    """Read val_annotations.txt: file, wnid and a box, between tabs."""
    labels = {name: label for label, name in enumerate(classes)}
    found: list[tuple[int, str]] = []
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise LimbeckError(f"{annotations}: line {number} has no file and class between tabs: get it again")
        if fields[1] not in labels:
            raise LimbeckError(
                f"{annotations}: line {number} has class {fields[1]!r}, which train has not: "
                "both must have the same ones"
            )
        found.append((labels[fields[1]], str(annotations.parent / "images" / fields[0])))
    found.sort()
    return Listing(classes, [path for _, path in found], np.array([label for label, _ in found], np.int64), [])


def _decoded(paths: Sequence[str]) -> UInt8[Tensor, "count 3 64 64"]:
    # Threads: Pillow decodes outside the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.stack(list(pool.map(_image, paths)))


def _image(path: str) -> UInt8[Tensor, "3 64 64"]:
    image = decode(path)
    if image.shape != (3, _SIZE, _SIZE):
        raise LimbeckError(f"{path} has {image.shape[2]}x{image.shape[1]} pixels instead of 64x64: use image_folder")
    return image
