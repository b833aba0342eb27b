import json

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from limbeck.data.load import MIXES, SOURCES, VIEWS, Data
from limbeck.data.mixing import CutMix, Mixup
from limbeck.data.sources.digits import Digits
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.views import Cutout, Flip, PadCrop
from limbeck.errors import LimbeckError


def plain(examples):
    return torch.cat([batch.views[0] for batch in examples.in_order(100)])


def test_the_tables_have_the_recipes_names():
    sources = {"digits", "fashion_mnist", "mnist", "cifar10", "cifar100", "tiny_imagenet", "image_folder"}
    assert set(SOURCES) == sources
    assert set(VIEWS) == {"pad_crop", "flip", "random_resized_crop", "rotation", "colour_jitter", "cutout"}
    assert set(MIXES) == {"cutmix", "mixup"}
    for table in (SOURCES, VIEWS, MIXES):
        assert all(name == entry.name for name, entry in table.items())


def test_data_is_read_from_json():
    text = json.dumps(
        {
            "source": {"name": "digits"},
            "validation": 100,
            "examples": 300,
            "views": [{"name": "pad_crop", "padding": 1}, "flip", {"name": "cutout", "length": 3}],
            "mix": {"name": "mixup", "alpha": 0.4},
            "workers": 0,
        }
    )
    views = (PadCrop(1), Flip(), Cutout(3))
    assert TypeAdapter(Data).validate_json(text) == Data(
        Digits(), 100, examples=300, views=views, mix=Mixup(0.4), workers=0
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"name": "digit"}},
        {"source": {}},
        {"validation": 1.0},
        {"validation": -1},
        {"validation": True},
        {"validation": "0.1"},
        {"held_out": -1},
        {"examples": 0},
        {"views": [{"name": "cutmix"}]},
        {"views": [{"name": "flip", "chance": 0.5}]},
        {"mix": {"name": "flip"}},
        {"workers": -1},
        {"worker": 1},
    ],
)
def test_wrong_settings(changes):
    with pytest.raises(ValidationError):
        TypeAdapter(Data).validate_json(json.dumps({"source": {"name": "digits"}} | changes))


@pytest.mark.parametrize("validation", [0.2, 200])
def test_splits(validation):
    splits = Data(Digits(), validation).load("cpu")
    assert (splits.train.count, splits.validation.count, splits.test.count) == (800, 200, 797)
    assert (splits.train.id_space, splits.validation.id_space, splits.test.id_space) == (1000, 1000, 797)
    assert sorted(np.concatenate((splits.train.ids, splits.validation.ids))) == list(range(1000))
    every = np.bincount(np.concatenate((splits.train.labels, splits.validation.labels)))
    assert np.abs(np.bincount(splits.validation.labels) - every / 5).max() < 1
    assert len({part.fingerprint for part in splits[:3]}) == 3


def test_an_example_is_the_same_in_every_split():
    everyone = Data(Digits(), validation=0).load("cpu")
    assert everyone.validation is None
    images = plain(everyone.train)
    for seed in (0, 1):
        splits = Data(Digits(), 0.3, examples=200, split_seed=seed).load("cpu")
        for part in (splits.train, splits.validation):
            assert torch.equal(plain(part), images[part.ids])
            assert np.array_equal(part.labels, everyone.train.labels[part.ids])


def test_fewer_examples_leave_validation_and_test_alone():
    whole, few = Data(Digits(), 0.2).load("cpu"), Data(Digits(), 0.2, examples=100).load("cpu")
    assert few.train.count == 100
    assert set(few.train.ids) < set(whole.train.ids)
    assert np.bincount(few.train.labels).min() >= 9
    assert few.validation.fingerprint == whole.validation.fingerprint
    assert few.test.fingerprint == whole.test.fingerprint


def test_the_split_depends_on_its_seed():
    one, again, two = (Data(Digits(), 0.2, split_seed=seed).load("cpu") for seed in (0, 0, 1))
    assert one.train.fingerprint == again.train.fingerprint
    assert one.train.fingerprint != two.train.fingerprint
    assert one.test.fingerprint == two.test.fingerprint


def test_test_examples_have_ids_of_their_own_and_never_change():
    splits = Data(Digits(), 0.1, views=(PadCrop(2), Flip(), Cutout(4)), mix=CutMix(1.0, 1.0)).load("cpu")
    assert splits.test.ids.tolist() == list(range(797))
    for part in (splits.validation, splits.test):
        images = dict(zip(part.ids.tolist(), plain(part), strict=True))
        for step in part.epoch(0, batch_size=64, seed=0, views=2):
            for batch in step.parts:
                assert batch.mix is None
                expected = torch.stack([images[example] for example in batch.ids.tolist()])
                assert all(torch.equal(view, expected) for view in batch.views)
    pixels = {image.numpy().tobytes() for part in (splits.train, splits.validation) for image in plain(part)}
    assert not any(image.numpy().tobytes() in pixels for image in plain(splits.test))


def test_views_are_the_sources_unless_given():
    assert Data(Digits()).views == (PadCrop(1),)
    assert Data(Digits(), views=()).views == ()
    still = Data(Digits(), views=()).load("cpu").train
    batch = next(still.epoch(0, batch_size=10, seed=0)).parts[0]
    images = dict(zip(still.ids.tolist(), plain(still), strict=True))
    assert torch.equal(batch.views[0], torch.stack([images[example] for example in batch.ids.tolist()]))


def test_more_is_held_out_beside_the_validation_split():
    plain, both = (Data(Digits(), 100, held_out=count).load("cpu") for count in (0, 0.2))
    assert plain.held_out is None
    assert both.held_out.count == 180
    assert both.validation.fingerprint == plain.validation.fingerprint
    ids = np.concatenate([part.ids for part in (both.train, both.validation, both.held_out)])
    assert sorted(ids) == list(range(1000))
    every = np.bincount(plain.train.labels)
    assert np.abs(np.bincount(both.held_out.labels) - every / 5).max() < 1


def test_folders_are_split_as_well(image_tree):
    root = image_tree(count=10)
    splits = Data(ImageFolder(root, size=16), 0.2, workers=0).load("cpu")
    assert (splits.train.count, splits.validation.count, splits.test.count) == (16, 4, 20)
    assert len({part.fingerprint for part in splits[:3]}) == 3
    assert plain(splits.validation).shape == (4, 3, 16, 16)
    for step in splits.train.epoch(0, batch_size=8, seed=0):
        assert set(step.parts[0].ids.tolist()) <= set(splits.train.ids.tolist())


def test_too_few_examples_for_a_split():
    with pytest.raises(LimbeckError, match="would be held out"):
        Data(Digits(), 5).load("cpu")
    with pytest.raises(LimbeckError, match="would have none of class"):
        Data(Digits(), examples=5).load("cpu")


def test_the_first_classes_only():
    whole, few = (Data(source=Digits(), validation=100, classes=classes).load("cpu") for classes in (None, 3))
    assert few.train.classes == few.test.classes == whole.train.classes[:3]
    for part, all_of in zip(few[:3], whole[:3], strict=True):
        assert set(part.labels.tolist()) == {0, 1, 2}
        assert part.id_space == all_of.id_space
    asked = whole.test.labels < 3
    assert np.array_equal(few.test.ids, whole.test.ids[asked])
    assert torch.equal(plain(few.test), plain(whole.test)[torch.from_numpy(asked)])
    assert few.validation.count == 100
    assert not set(few.train.ids.tolist()) & set(few.validation.ids.tolist())
    assert Data(source=Digits(), classes=3).known_classes() == few.train.classes
    for read in (lambda data: data.load("cpu"), Data.known_classes):
        with pytest.raises(LimbeckError, match=r"data\.classes is 11, but digits has 10: lower it"):
            read(Data(source=Digits(), classes=11))
