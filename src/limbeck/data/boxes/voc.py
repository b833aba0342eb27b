"""Pictures annotated as those of PASCAL VOC: an XML file for each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from limbeck.core.config import Flag, configurable
from limbeck.data.boxes.annotations import BoxSplits, Described, Thing, checked_classes, gathered, inside
from limbeck.errors import LimbeckError

_SUFFIXES = (".jpg", ".jpeg", ".png")


@configurable
class VOC:
    """Pictures with boxes in the layout of PASCAL VOC: Annotations, JPEGImages and ImageSets/Main in one folder.

    Coordinates in the files are pixels counted from 1, the last one inside the box. A box whose corners are one pixel
    has no area: it is a slip of who drew it.

    Source: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge" (2010), and its development kit.

    Attributes:
        root: the folder, such as VOCdevkit/VOC2007.
        train: the training split: a file of ImageSets/Main, without .txt.
        validation: the validation split; null for none.
        test: the test split.
        classes: their names, in this order; null takes those that are in the training split, sorted.
        difficult: learn from objects marked as difficult as well; they are never counted in evaluation.
    """

    name: ClassVar[str] = "voc"

    root: str
    train: str = "trainval"
    validation: str | None = None
    test: str = "test"
    classes: tuple[str, ...] | None = None
    difficult: Flag = False

    def __post_init__(self) -> None:
        if self.classes is not None:
            try:
                checked_classes(self.classes, "data.source.classes")
            except LimbeckError as error:
                raise ValueError(str(error)) from error

    def load(self) -> BoxSplits:
        """Read the annotations of all splits.

        Raises:
            LimbeckError: a file is missing or broken, or a class is unknown.
        """
        root = Path(self.root)
        if not root.is_dir():
            raise LimbeckError(f"there is no folder {root}: set data.source.root to the one that holds Annotations")
        splits = [
            None if name is None else self._split(root, name) for name in (self.train, self.validation, self.test)
        ]
        train, validation, test = splits
        assert train is not None
        assert test is not None
        found = sorted({thing.name for picture in train for thing in picture.things})
        classes = checked_classes(self.classes or found, str(_listed(root, self.train)))
        return BoxSplits(
            gathered(train, classes),
            None if validation is None else gathered(validation, classes),
            gathered(test, classes),
        )

    def _split(self, root: Path, split: str) -> list[Described]:
        path = _listed(root, split)
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError as error:
            there = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt"))) or "none"
            raise LimbeckError(f"there is no split file {path}; there are: {there}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise LimbeckError(f"{path} cannot be read: {error}") from error
        names: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            name, *more = line.split()
            if more:
                raise LimbeckError(f"{path}: line {number} is more than the name of a picture: leave only that")
            if name in names:
                raise LimbeckError(f"{path}: line {number} names picture {name} again: remove it")
            names[name] = number
        if not names:
            raise LimbeckError(f"{path} is empty: give it at least one picture")
        return [self._picture(root, path, name) for name in names]

    def _picture(self, root: Path, listed: Path, name: str) -> Described:
        told = inside(root / "Annotations", f"{name}.xml", listed)
        tree = _parsed(told, listed)
        size = tree.find("size")
        if size is None:
            raise LimbeckError(f"{told} has no <size>: give the picture's width and height")
        height, width = (int(_number(size, side, told)) for side in ("height", "width"))
        if min(height, width) < 1:
            raise LimbeckError(f"{told}: a picture of {width}x{height} pixels: give its width and height")
        stem = inside(root / "JPEGImages", name, listed)
        paths = [stem.with_name(stem.name + suffix) for suffix in _SUFFIXES]
        path = next((one for one in paths if one.is_file()), paths[0])
        things = tuple(self._thing(one, told) for one in tree.iterfind("object"))
        return Described(name, path, told, (height, width), things)

    def _thing(self, element: ElementTree.Element, told: Path) -> Thing:
        name, frame = (element.findtext("name") or "").strip(), element.find("bndbox")
        if not name or frame is None:
            raise LimbeckError(f"{told}: an <object> has no {'<bndbox>' if name else '<name>'}: give it one")
        left, top, right, bottom = (_number(frame, side, told) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = (left - 1, top - 1, left - 1 if right <= left else right, top - 1 if bottom <= top else bottom)
        difficult = (element.findtext("difficult") or "0").strip() not in {"0", "false", "False"}
        return Thing(name, box, difficult, self.difficult or not difficult)


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree of a file that defines nothing of its own: what it could define may be without end."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse a document type, and the entities in it, before the first of them is read."""
        raise ValueError("it has a DOCTYPE, which annotations need not have")


def _listed(root: Path, split: str) -> Path:
    main = root / "ImageSets" / "Main"
    return inside(main, f"{split}.txt", main)


def _parsed(path: Path, listed: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LimbeckError(f"{listed}: there is no annotation {path}: put it there, or remove its line") from error
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(content)
        tree: ElementTree.Element = parser.close()
    # a LookupError or ValueError is of an unknown encoding, or our own
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise LimbeckError(f"{path} is no readable XML ({error}): mend or remove it") from error
    return tree


def _number(parent: ElementTree.Element, name: str, told: Path) -> float:
    text = (parent.findtext(name) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LimbeckError(f"{told}: <{name}> in <{parent.tag}> is {text!r}, which is no number: mend it")
    return value
