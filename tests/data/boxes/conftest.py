"""Tiny sets of pictures with coloured rectangles, written as VOC's and as COCO's."""

import json
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

# each class has a colour of its own, so that it can be found again
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
CLASSES = ("background", *COLOURS)


class Drawn(NamedTuple):
    """A picture to be written: things are (class, (left, top, right, bottom) from 0, whether it is set apart)."""

    name: str
    size: tuple[int, int]
    things: tuple = ()


def painted(one):
    pixels = np.zeros((*one.size, 3), np.uint8)
    for name, (left, top, right, bottom), _ in one.things:
        pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = COLOURS.get(name, (9, 9, 9))
    return pixels


SOME = (
    Drawn("a", (40, 60), (("red", (5, 10, 25, 30), False), ("green", (30, 12, 50, 36), False))),
    Drawn("b", (64, 30), (("blue", (3, 20, 27, 60), False),)),
    Drawn("empty", (50, 50)),
    Drawn("c", (36, 100), (("red", (60, 4, 90, 30), True), ("red", (0, 0, 20, 36), False))),
    Drawn("d", (48, 48), (("green", (8, 8, 40, 40), False),)),
    Drawn("e", (30, 90), (("blue", (40, 5, 70, 25), False), ("red", (75, 2, 90, 12), False))),
    Drawn("f", (70, 50), (("green", (10, 30, 45, 66), False),)),
    Drawn("g", (33, 47), (("red", (2, 3, 40, 30), False),)),
    Drawn("h", (47, 33), (("blue", (2, 3, 30, 40), False),)),
    Drawn("i", (60, 90), (("red", (10, 10, 80, 50), False), ("blue", (0, 0, 8, 9), False))),
    Drawn("j", (52, 52), (("green", (20, 20, 52, 52), False),)),
)


def write_voc(root, splits, suffix=".png"):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, pictures in splits.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{one.name}\n" for one in pictures))
        for one in pictures:
            Image.fromarray(painted(one)).save(root / "JPEGImages" / f"{one.name}{suffix}")
            text = "".join(
                f"<object><name>{name}</name><difficult>{int(apart)}</difficult><bndbox><xmin>{box[0] + 1}</xmin>"
                f"<ymin>{box[1] + 1}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
                for name, box, apart in one.things
            )
            size = f"<size><width>{one.size[1]}</width><height>{one.size[0]}</height><depth>3</depth></size>"
            (root / "Annotations" / f"{one.name}.xml").write_text(f"<annotation>{size}{text}</annotation>")
    return root


def write_coco(root, splits):
    (root / "annotations").mkdir(parents=True)
    # ids neither begin at 0 nor follow each other, and the classes are not in the order of the alphabet
    ids = {"red": 7, "green": 3, "blue": 90}
    for split, pictures in splits.items():
        (root / split).mkdir()
        images, boxes = [], []
        for number, one in enumerate(pictures):
            Image.fromarray(painted(one)).save(root / split / f"{one.name}.png")
            height, width = one.size
            images.append({"id": 100 - number, "file_name": f"{one.name}.png", "height": height, "width": width})
            for name, (left, top, right, bottom), apart in one.things:
                frame = [left, top, right - left, bottom - top]
                boxes.append({"image_id": 100 - number, "category_id": ids[name], "bbox": frame, "iscrowd": int(apart)})
        categories = [{"id": number, "name": name, "supercategory": "colour"} for name, number in ids.items()]
        content = {"info": {}, "images": images, "annotations": boxes[::-1], "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def drawn():
    """Return the class of a picture to be written, and some of them."""
    return Drawn, SOME


@pytest.fixture
def voc(tmp_path):
    """Return a function that writes a set as VOC's."""

    def write(train=SOME, test=SOME[:4], suffix=".png", **more):
        return write_voc(tmp_path / "voc", {"trainval": train, "test": test, **more}, suffix)

    return write


@pytest.fixture
def coco(tmp_path):
    """Return a function that writes a set as COCO's."""

    def write(train=SOME, test=SOME[:4], **more):
        return write_coco(tmp_path / "coco", {"train2017": train, "val2017": test, **more})

    return write
