"""What annotations say of pictures, whatever the files they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from limbeck.errors import LimbeckError, nearest

BACKGROUND = "background"
# pixels by which a box may stick out unnoticed: sums of coordinates that were written with two decimals
_ROUNDING = 0.02


class Thing(NamedTuple):
    """Something in a picture.

    Attributes:
        name: its class.
        box: left, top, right, bottom, in pixels from 0.
        ignored: whether it counts neither as found nor as missed.
        learned: whether it is learned from.
    """

    name: str
    box: tuple[float, float, float, float]
    ignored: bool
    learned: bool


class Described(NamedTuple):
    """A picture and what is in it.

    Attributes:
        name: of the picture.
        path: its file.
        told: the file that says what is in it.
        size: height and width in pixels.
        things: what is in it.
    """

    name: str
    path: Path
    told: Path
    size: tuple[int, int]
    things: tuple[Thing, ...]


class Scenes(NamedTuple):
    """The pictures of a split, in the order of its file, and the boxes in them.

    Attributes:
        classes: name of each class; 0 is the background.
        names: of the pictures.
        paths: their files.
        told: for each picture the file that says what is in it.
        sizes: height and width in pixels, int64 [P, 2].
        weights: bytes of each picture's file, int64 [P].
        pictures: for each box the place of its picture, ascending, int64 [M].
        boxes: left, top, right, bottom, in pixels from 0, float32 [M, 4].
        labels: its class, 1..K-1, int64 [M].
        ignored: whether it counts neither as found nor as missed, [M].
        learned: whether it is learned from, [M].
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    paths: tuple[str, ...]
    told: tuple[str, ...]
    sizes: Int64[np.ndarray, "pictures 2"]
    weights: Int64[np.ndarray, " pictures"]
    pictures: Int64[np.ndarray, " boxes"]
    boxes: Float32[np.ndarray, "boxes 4"]
    labels: Int64[np.ndarray, " boxes"]
    ignored: Bool[np.ndarray, " boxes"]
    learned: Bool[np.ndarray, " boxes"]

    def first(self, count: int | None) -> Scenes:
        """Return the first so many pictures; None returns all."""
        if count is None or count >= len(self.names):
            return self
        cut = self._boxes(self.pictures < count)
        return cut._replace(
            names=self.names[:count],
            paths=self.paths[:count],
            told=self.told[:count],
            sizes=self.sizes[:count],
            weights=self.weights[:count],
        )

    def whole(self, drop: bool) -> Scenes:
        """Return the boxes that lie in their pictures and have an area.

        Args:
            drop: leave out the others, and clip those that stick out; without it they are refused.

        Raises:
            LimbeckError: they are, and there are some.
        """
        last = np.tile(self.sizes[self.pictures][:, ::-1], 2).astype(np.float32)
        clipped = np.clip(self.boxes, 0, last)
        flat = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
        bad = flat | (np.abs(clipped - self.boxes) > _ROUNDING).any(axis=1)
        if bad.any() and not drop:
            self._refuse(bad, flat)
        return self._replace(boxes=clipped)._boxes(~flat)

    def _boxes(self, kept: Bool[np.ndarray, " boxes"]) -> Scenes:
        return self._replace(
            pictures=self.pictures[kept],
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            ignored=self.ignored[kept],
            learned=self.learned[kept],
        )

    def _refuse(self, bad: Bool[np.ndarray, " boxes"], flat: Bool[np.ndarray, " boxes"]) -> None:
        first = int(np.flatnonzero(bad)[0])
        picture = int(self.pictures[first])
        height, width = self.sizes[picture].tolist()
        left, top, right, bottom = self.boxes[first].tolist()
        empty = right <= left or bottom <= top
        where = (
            "has no area" if empty else f"lies {'' if flat[first] else 'partly '}outside its {width}x{height} pixels"
        )
        count, among = int(bad.sum()), len(np.unique(self.pictures[bad]))
        more = f"; there are {count} such boxes in {among} picture(s)" if count > 1 else ""
        raise LimbeckError(
            f"{self.told[picture]}: in picture {self.names[picture]} the {self.classes[self.labels[first]]} at "
            f"({left:g}, {top:g}, {right:g}, {bottom:g}), counted from 0, {where}{more}: mend the file(s), or set "
            "data.drop to true"
        )


class BoxSplits(NamedTuple):
    """The splits of a source; all have the same classes.

    Attributes:
        train: to learn from.
        validation: None if the source has none.
        test: what finished runs are evaluated on.
    """

    train: Scenes
    validation: Scenes | None
    test: Scenes


def gathered(pictures: Sequence[Described], classes: tuple[str, ...]) -> Scenes:
    """Put together what is said of the pictures of a split.

    Args:
        pictures: in order.
        classes: all names, the background first.

    Raises:
        LimbeckError: a picture's file is missing, or a class is not among `classes`.
    """
    numbers = {name: number for number, name in enumerate(classes) if number}
    things = [(place, thing) for place, picture in enumerate(pictures) for thing in picture.things]
    for place, thing in things:
        if thing.name not in numbers:
            raise LimbeckError(
                f"{pictures[place].told}: {thing.name!r} in picture {pictures[place].name} is not among the classes"
                f"{nearest(thing.name, numbers)}"
            )
    return Scenes(
        classes,
        tuple(picture.name for picture in pictures),
        tuple(str(picture.path) for picture in pictures),
        tuple(str(picture.told) for picture in pictures),
        np.array([picture.size for picture in pictures], np.int64).reshape(-1, 2),
        np.array(list(_weights(pictures)), np.int64),
        np.array([place for place, _ in things], np.int64),
        np.array([thing.box for _, thing in things], np.float32).reshape(-1, 4),
        np.array([numbers[thing.name] for _, thing in things], np.int64),
        np.array([thing.ignored for _, thing in things], np.bool_),
        np.array([thing.learned for _, thing in things], np.bool_),
    )


def inside(folder: Path, name: str, told: Path) -> Path:
    """Return the path of a file in a folder.

    Raises:
        LimbeckError: the name leads out of the folder.
    """
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise LimbeckError(f"{told}: {name!r} is no name of a file in {folder}: mend it")
    return folder / name


def checked_classes(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names of classes, with the background before them.

    Raises:
        LimbeckError: there is none, one comes twice, or one is the background's own.
    """
    if not names:
        raise LimbeckError(f"{where} has nothing to learn from: there must be a box of some class")
    for number, name in enumerate(names):
        if name == BACKGROUND or name in names[:number]:
            why = "is what pictures have around their boxes" if name == BACKGROUND else "comes twice"
            raise LimbeckError(f"{where}: the class {name!r} {why}: give it another name")
    return BACKGROUND, *names


def _weights(pictures: Sequence[Described]) -> Iterator[int]:
    for picture in pictures:
        try:
            yield picture.path.stat().st_size
        except OSError as error:
            raise LimbeckError(
                f"{picture.told}: there is no picture {picture.path}: put it there, or take it out of the split"
            ) from error
