"""Folders of image files, a folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from limbeck.errors import LimbeckError


class Listing(NamedTuple):
    """The image files of a folder.

    Attributes:
        classes: the names of its sub-folders, sorted.
        paths: every image in or below a class's folder, by class, then by path.
        labels: int64 [N].
        identity: relative path and size of each.
    """

    classes: tuple[str, ...]
    paths: list[str]
    labels: NDArray[np.int64]
    identity: list[str]


def listing(folder: Path) -> Listing:
    """List folder/<class>/**/<image>.

    Raises:
        LimbeckError: the folder is missing or empty, has one class only, or has a class without images.
    """
    if not folder.is_dir():
        raise LimbeckError(f"{folder}: no such folder: it must hold one folder of images per class")
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not classes:
        raise LimbeckError(f"{folder} is empty: it must hold one folder of images per class")
    if len(classes) == 1:
        raise LimbeckError(
            f"{folder} has only one class, {classes[0]!r}: there must be a folder for each of two or more"
        )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        if not images:
            raise LimbeckError(
                f"{folder / name} has no images ({', '.join(IMG_EXTENSIONS)}): add some, or remove the folder"
            )
        files += images
        labels += [label] * len(images)
    return Listing(classes, [str(file) for file in files], np.array(labels, np.int64), _identity(files, folder))


def same_classes(train: Path, ours: tuple[str, ...], test: Path, theirs: tuple[str, ...]) -> None:
    """Check that two folders have the same classes.

    Raises:
        LimbeckError: they don't.
    """
    for name in sorted(set(ours) ^ set(theirs)):
        has, lacks = (train, test) if name in ours else (test, train)
        raise LimbeckError(f"class {name!r} is in {has} but not in {lacks}: both must have the same class folders")


def _identity(files: list[Path], folder: Path) -> list[str]:
    return [f"{file.relative_to(folder).as_posix()}\t{file.stat().st_size}" for file in files]
