"""The data of a detection recipe, and the real set of blood cells."""

import numpy as np
import pytest
import torch

from limbeck.core.config import fields_of
from limbeck.data.boxes.load import BoxData
from limbeck.data.boxes.sources import COCO, VOC
from limbeck.data.boxes.views import BoxFlip, Rescale
from limbeck.data.kinds import KINDS, NAMES, kind_of
from limbeck.errors import LimbeckError


def test_they_are_a_kind_of_data():
    assert KINDS["boxes"] is BoxData
    for name in NAMES["boxes"]:
        assert kind_of({"source": {"name": name}}) == "boxes"
    assert kind_of({"source": VOC(root="x")}) == "boxes"
    assert kind_of({"source": "digits"}) == "images"
    assert kind_of({"source": {"name": "text"}}) == "text"


def test_what_is_left_out():
    data = BoxData({"name": "voc", "root": "x"})
    assert data.views == (BoxFlip(),)
    assert not data.validated
    assert BoxData(VOC(root="x", validation="val"), views=()).validated
    assert (data.shorter, data.longer, data.square, data.workers, data.drop) == (800, 1333, False, 2, False)
    again = BoxData(**fields_of(BoxData(COCO(root="x"), views=["flip", {"name": "rescale", "sides": [9, 8]}])))
    assert again.views == (BoxFlip(), Rescale(sides=(9, 8)))
    assert isinstance(again.source, COCO)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"shorter": 900, "longer": 800}, "raise longer"),
        ({"square": True, "longer": 800}, "leave longer out"),
        ({"std": (0.1, 0.1, 0.0)}, "greater than 0"),
        ({"views": ["crop"]}, "iou_crop"),
        ({"source": "cocoa"}, "coco"),
        ({"drop": 1}, "bool"),
    ],
)
def test_bad_fields_are_refused(fields, part):
    with pytest.raises(ValueError, match=part):
        BoxData(**{"source": VOC(root="x")} | fields)


def test_some_pictures_are_enough(voc, drawn):
    source = VOC(root=str(voc(val=drawn[1])), validation="val")
    splits = BoxData(source, examples=3, tested=2, workers=0, shorter=32).load("cpu")
    assert [split.names for split in (splits.train, splits.validation, splits.test)] == [
        ("a", "b", "empty"),
        ("a", "b"),
        ("a", "b"),
    ]
    assert splits.train.truth.pictures.tolist() == [0, 0, 1]
    # the classes of the whole split, whatever is used of it
    assert BoxData(source, examples=1).load("cpu").train.classes == ("background", "blue", "green", "red")
    assert BoxData(source, examples=99).load("cpu").train.count == 11


def test_evaluation_changes_nothing_at_random(voc):
    splits = BoxData(VOC(root=str(voc())), workers=0, shorter=32, views=(BoxFlip(1.0),)).load("cpu")
    plain, changed = splits.test.in_order(2), splits.train.in_order(2)
    assert torch.equal(next(plain).views[0].images, next(changed).views[0].images)


def test_blood_cells(unpacked):
    root = str(unpacked("bccd") / "VOCdevkit" / "VOC2007")
    with pytest.raises(LimbeckError, match=r"BloodImage_00338.*has no area; there are 2 such boxes in 2 picture"):
        BoxData(VOC(root=root)).load("cpu")
    source = VOC(root=root, train="train", validation="val")
    splits = BoxData(source, shorter=300, longer=400, workers=0, drop=True).load("cpu")
    assert splits.train.classes == ("background", "Platelets", "RBC", "WBC")
    assert [split.count for split in (splits.train, splits.validation, splits.test)] == [205, 87, 72]
    counts = sum(
        np.bincount(split.truth.classes, minlength=4) for split in (splits.train, splits.validation, splits.test)
    )
    assert counts.tolist() == [0, 361, 4153, 372]
    (batch,), total = next(splits.train.epoch(0, batch_size=8, seed=0))
    pictures = batch.views[0]
    assert pictures.images.shape == (total, 3, 320, 416)
    assert set(pictures.sizes) == {(300, 400)}
    assert pictures.boxes[:, 2].max() <= 400
    assert abs(pictures.images[:, :, :300, :400].mean()) < 3
