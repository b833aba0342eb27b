"""Pictures annotated as those of COCO: one JSON file for each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from limbeck.core.config import configurable
from limbeck.data.boxes.annotations import BoxSplits, Described, Thing, checked_classes, gathered, inside
from limbeck.errors import LimbeckError

_Side = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class _Picture:
    """What is read of an entry of "images"."""

    id: int
    file_name: str
    width: _Side
    height: _Side


@dataclass(frozen=True, slots=True)
class _Box:
    """What is read of an entry of "annotations"; the box is left, top, width, height."""

    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: bool = False


@dataclass(frozen=True, slots=True)
class _Category:
    """What is read of an entry of "categories"."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class _File:
    """What is read of a file; the rest of it is left alone."""

    images: list[_Picture]
    annotations: list[_Box]
    categories: list[_Category]


@configurable
class COCO:
    """Pictures with boxes in the layout of COCO 2017: for each split a JSON file, and a folder of pictures.

    Crowds are not learned from, and not counted in evaluation. Classes are the categories of the training file, by id.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context" (2014).

    Attributes:
        root: the folder of all of it.
        train: JSON file of the training split, within the root.
        train_pictures: folder of its pictures, within the root.
        validation: JSON file of the validation split; null for none.
        validation_pictures: folder of its pictures; null for none.
        test: JSON file of the test split.
        test_pictures: folder of its pictures.
    """

    name: ClassVar[str] = "coco"

    root: str
    train: str = "annotations/instances_train2017.json"
    train_pictures: str = "train2017"
    validation: str | None = None
    validation_pictures: str | None = None
    test: str = "annotations/instances_val2017.json"
    test_pictures: str = "val2017"

    def __post_init__(self) -> None:
        if (self.validation is None) != (self.validation_pictures is None):
            raise ValueError("validation and validation_pictures belong together: give both, or none")

    def load(self) -> BoxSplits:
        """Read the annotations of all splits.

        Raises:
            LimbeckError: a file is missing or broken, or a class is unknown.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise LimbeckError(f"there is no folder {root}: set data.source.root to the one with the annotations")
        named, train = _split(root, self.train, self.train_pictures)
        classes = checked_classes(named, str(root / self.train))
        validation = None
        if self.validation is not None and self.validation_pictures is not None:
            validation = gathered(_split(root, self.validation, self.validation_pictures)[1], classes)
        test = gathered(_split(root, self.test, self.test_pictures)[1], classes)
        return BoxSplits(gathered(train, classes), validation, test)


def _split(root: Path, told: str, folder: str) -> tuple[list[str], list[Described]]:
    """Return the names of a file's categories, by id, and its pictures."""
    path, place = root / told, root / folder
    if not place.is_dir():
        raise LimbeckError(f"there is no folder of pictures {place}: set data.source to where they are")
    content = _read(path)
    names = {one.id: one.name for one in content.categories}
    if len(names) < len(content.categories):
        raise LimbeckError(f"{path}: two categories have the same id: give each its own")
    things: dict[int, list[Thing]] = {one.id: [] for one in content.images}
    if len(things) < len(content.images):
        raise LimbeckError(f"{path}: two images have the same id: give each its own")
    if not things:
        raise LimbeckError(f"{path} is empty: give it at least one picture")
    for box in content.annotations:
        if box.image_id not in things or box.category_id not in names:
            what = f"image {box.image_id}" if box.image_id not in things else f"category {box.category_id}"
            raise LimbeckError(f"{path}: an annotation is of {what}, which the file does not have: remove it")
        left, top, width, height = box.bbox
        frame = (left, top, left + width, top + height)
        things[box.image_id].append(Thing(names[box.category_id], frame, box.iscrowd, not box.iscrowd))
    pictures = [
        Described(
            one.file_name, inside(place, one.file_name, path), path, (one.height, one.width), tuple(things[one.id])
        )
        for one in content.images
    ]
    return [names[number] for number in sorted(names)], pictures


def _read(path: Path) -> _File:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LimbeckError(f"there is no annotation file {path}: set data.source to where it is") from error
    try:
        return TypeAdapter(_File).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"][:1].lower() + first["msg"][1:]
        raise LimbeckError(
            f"{path} is no annotation file of COCO's kind: {where}{': ' if where else ''}{said}"
        ) from error
