"""Annotations of VOC and COCO: what they say, and one clear line where they are wrong."""

import json
import re

import numpy as np
import pytest

from limbeck.data.boxes.load import BoxData
from limbeck.data.boxes.sources import BOX_SOURCES, COCO, VOC, BoxSource
from limbeck.errors import LimbeckError


def said(scenes):
    """What is in each picture, as it was written."""
    found = {name: [] for name in scenes.names}
    for row, picture in enumerate(scenes.pictures):
        label = scenes.classes[scenes.labels[row]]
        found[scenes.names[picture]].append((label, tuple(scenes.boxes[row].tolist()), bool(scenes.ignored[row])))
    return found


def written(pictures, suffix=""):
    return {f"{one.name}{suffix}": list(one.things) for one in pictures}


def refused(make, *parts):
    with pytest.raises(LimbeckError) as caught:
        make()
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert str(part) in line, line


def test_voc_says_what_was_written(voc, drawn):
    splits = VOC(root=str(voc())).load()
    assert isinstance(VOC(root="x"), BoxSource)
    assert said(splits.train) == written(drawn[1])
    assert said(splits.test) == written(drawn[1][:4])
    assert splits.validation is None
    assert splits.train.classes == ("background", "blue", "green", "red")
    assert splits.train.sizes.tolist() == [list(one.size) for one in drawn[1]]
    assert splits.train.pictures.tolist() == sorted(splits.train.pictures.tolist())
    assert np.array_equal(splits.train.learned, ~splits.train.ignored)
    assert splits.train.ignored.sum() == 1


def test_difficult_ones_may_be_learned_but_are_not_counted(voc):
    train = VOC(root=str(voc()), difficult=True).load().train
    assert train.learned.all()
    assert train.ignored.sum() == 1


def test_voc_has_splits_and_classes_of_ones_own(voc, drawn):
    root = voc(val=drawn[1][4:6])
    splits = VOC(root=str(root), train="test", validation="val", classes=("red", "green", "blue", "white")).load()
    assert splits.train.names == ("a", "b", "empty", "c")
    assert splits.validation.names == ("d", "e")
    assert splits.test.classes == ("background", "red", "green", "blue", "white")
    for classes in [("red", "red"), ("background",), ()]:
        with pytest.raises(ValueError, match=r"twice|around|nothing to learn"):
            VOC(root=str(root), classes=classes)


def test_coco_says_what_was_written(coco, drawn):
    splits = COCO(root=str(coco())).load()
    assert splits.train.classes == ("background", "green", "red", "blue")
    things = said(splits.train)
    assert {name: sorted(one) for name, one in things.items()} == {
        name: sorted(one) for name, one in written(drawn[1], ".png").items()
    }
    assert np.array_equal(splits.train.learned, ~splits.train.ignored)
    assert splits.train.ignored.sum() == 1
    assert splits.test.sizes.tolist() == [list(one.size) for one in drawn[1][:4]]


def test_coco_has_a_validation_split_where_it_is_named(coco, drawn):
    root = str(coco(mine=drawn[1][5:]))
    splits = COCO(root=root, validation="annotations/instances_mine.json", validation_pictures="mine").load()
    assert splits.validation.names[0] == "e.png"
    with pytest.raises(ValueError, match="belong together"):
        COCO(root=root, validation="annotations/instances_mine.json")


def test_both_have_a_name():
    assert list(BOX_SOURCES) == ["voc", "coco"]


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_a_folder_that_is_not_there(tmp_path, kind):
    refused(
        BOX_SOURCES[kind](root=str(tmp_path / "no")).load, "there is no folder", tmp_path / "no", "data.source.root"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a\na\n", "line 2 names picture a again"),
        ("a 1\n", "line 1 is more than the name"),
        ("\n", "is empty"),
        ("../a\n", "is no name of a file in"),
        ("zz\n", "there is no annotation"),
    ],
)
def test_a_bad_split_file(voc, text, part):
    root = voc()
    (root / "ImageSets/Main/trainval.txt").write_text(text)
    refused(VOC(root=str(root)).load, root / "ImageSets/Main/trainval.txt", part)


def test_a_split_or_picture_that_is_not_there(voc):
    root = voc()
    refused(VOC(root=str(root), train="train").load, "Main/train.txt", "there are: test, trainval")
    (root / "JPEGImages/d.png").unlink()
    refused(VOC(root=str(root)).load, root / "Annotations/d.xml", "there is no picture", "JPEGImages/d.jpg")


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text[:-5], "is no readable XML"),
        (lambda text: "", "is no readable XML"),
        (lambda text: BOMB, "DOCTYPE"),
        (lambda text: BOMB.encode("utf-16").decode("latin-1"), "DOCTYPE"),
        (lambda text: '<?xml version="1.0" encoding="klingon"?>' + text, "is no readable XML"),
        (lambda text: text.replace("size>", "extent>"), "has no <size>"),
        (lambda text: text.replace("<width>48", "<width>0"), "0x48 pixels"),
        (lambda text: text.replace("<xmin>9", "<xmin>nine"), "<xmin> in <bndbox> is 'nine'"),
        (lambda text: text.replace("<xmin>9", "<xmin>nan"), "is no number"),
        (lambda text: text.replace("<width>48", "<width>inf"), "is no number"),
        (lambda text: re.sub("<ymax>.*</ymax>", "", text), "<ymax> in <bndbox> is ''"),
        (lambda text: text.replace("bndbox", "frame"), "no <bndbox>"),
        (lambda text: text.replace("<name>green</name>", ""), "no <name>"),
        (lambda text: text.replace("green", "background"), "around their boxes"),
    ],
)
def test_a_bad_annotation(voc, change, part):
    root = voc()
    path = root / "Annotations/d.xml"
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    refused(VOC(root=str(root)).load, "trainval.txt" if "around" in part else path, part)


def test_a_class_that_is_not_learned(voc, coco, drawn):
    strange = (drawn[0]("x", (20, 20), (("gren", (1, 1, 9, 9), False),)),)
    root = voc(test=strange)
    refused(VOC(root=str(root)).load, root / "Annotations/x.xml", "'gren'", "did you mean 'green'?")
    root = coco()
    path = root / "annotations/instances_val2017.json"
    path.write_text(path.read_text().replace('"green"', '"gren"'))
    refused(COCO(root=str(root)).load, path, "'gren'", "did you mean 'green'?")


def test_a_split_without_a_box(voc, drawn):
    root = voc(train=(drawn[0]("x", (20, 20)),))
    refused(VOC(root=str(root)).load, "trainval.txt", "nothing to learn from")


@pytest.mark.parametrize(
    ("keys", "value", "part"),
    [
        ((), [], "should be an object"),
        (("images",), [], "is empty"),
        (("images", 0, "width"), 0, "images.0.width"),
        (("images", 1, "id"), 100, "two images have the same id"),
        (("images", 0, "file_name"), "../a.png", "is no name of a file in"),
        (("images", 0, "file_name"), "zz.png", "there is no picture"),
        (("categories", 1, "id"), 7, "two categories have the same id"),
        (("categories", 1, "name"), "red", "'red' comes twice"),
        (("annotations", 2, "bbox"), [1, 2, 3], "annotations.2.bbox.3: field required"),
        (("annotations", 2, "bbox", 1), "x", "annotations.2.bbox.1"),
        (("annotations", 2, "bbox", 1), float("nan"), "annotations.2.bbox.1"),
        (("annotations", 2, "image_id"), 5, "image 5, which the file does not have"),
        (("annotations", 2, "category_id"), 5, "category 5, which the file does not have"),
    ],
)
def test_a_bad_file_of_coco(coco, keys, value, part):
    root = coco()
    path = root / "annotations/instances_train2017.json"
    content = whole = {"": json.loads(path.read_text())}
    *first, last = ("", *keys)
    for key in first:
        content = content[key]
    content[last] = value
    path.write_text(json.dumps(whole[""]))
    refused(COCO(root=str(root)).load, path, part)


def test_a_file_or_folder_of_coco_that_is_broken_or_not_there(coco):
    root = coco()
    path = root / "annotations/instances_val2017.json"
    path.write_text(path.read_text()[:-9])
    refused(COCO(root=str(root)).load, path, "is no annotation file", "invalid JSON")
    path.unlink()
    refused(COCO(root=str(root)).load, path, "there is no annotation file")
    refused(COCO(root=str(root), train_pictures="other").load, root / "other", "no folder of pictures")


# of a picture of 20 by 30 pixels: what is wrong, and what is left of the box where such boxes are left out
BAD = [
    ((5, 5, 5, 9), "has no area", None),
    ((9, 5, 5, 9), "has no area", None),
    ((30, 0, 35, 9), "lies outside its 30x20 pixels", None),
    ((-9, -9, -1, -1), "lies outside", None),
    ((-2, 5, 9, 25), "lies partly outside", (0, 5, 9, 20)),
    ((25, 5, 31, 9), "lies partly outside", (25, 5, 30, 9)),
]


@pytest.mark.parametrize(("box", "part", "left"), BAD)
@pytest.mark.parametrize("kind", ["voc", "coco"])
@pytest.mark.parametrize("where", ["train", "test"])
def test_a_box_that_cannot_be_is_refused_or_left_out(voc, coco, drawn, kind, where, box, part, left):
    things = (("red", (1, 1, 9, 9), False), ("green", box, False), ("blue", (0, 0, 30, 20), False))
    root = {"voc": voc, "coco": coco}[kind](**{where: (drawn[1][0], drawn[0]("x", (20, 30), things))})
    source = BOX_SOURCES[kind](root=str(root), **({"classes": ("blue", "green", "red")} if kind == "voc" else {}))
    told = root / ("Annotations/x.xml" if kind == "voc" else "annotations/instances_" + where.replace("test", "val"))
    refused(lambda: BoxData(source).load("cpu"), told, part, "green", "data.drop")
    truth = getattr(BoxData(source, drop=True).load("cpu"), where).truth
    kept = [] if left is None else [list(left)]
    assert sorted(truth.boxes[truth.pictures == 1].tolist()) == sorted([[1, 1, 9, 9], *kept, [0, 0, 30, 20]])


def test_a_box_of_voc_with_one_pixel_for_both_corners_has_no_area(voc, drawn):
    root = voc(train=(drawn[0]("x", (20, 30), (("red", (5, 5, 6, 6), False),)),), test=drawn[1][2:3])
    refused(lambda: BoxData(VOC(root=str(root))).load("cpu"), "x.xml", "(5, 5, 5, 5), counted from 0, has no area")


def test_boxes_that_cannot_be_are_counted(voc, drawn):
    bad = [("red", box, False) for box, *_ in BAD[:3]]
    things = (("red", (1, 1, 9, 9), False), *bad)
    root = voc(train=(drawn[0]("x", (20, 30), things), drawn[0]("y", (20, 30), tuple(bad[:1]))), test=drawn[1][2:3])
    refused(lambda: BoxData(VOC(root=str(root))).load("cpu"), "4 such boxes in 2 picture(s)")


def test_coordinates_may_be_rounded(coco, drawn):
    root = coco(train=(drawn[0]("x", (20, 30), (("red", (10, 1, 30, 9), False),)),), test=drawn[1][:1])
    path = root / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace("[10, 1, 20, 8]", "[10.01, 1, 20, 8]"))
    assert BoxData(COCO(root=str(root))).load("cpu").train.truth.boxes[0, 2] == 30
