import numpy as np
import pytest
import torch
from torchvision import transforms

from limbeck.data import draws
from limbeck.data.examples import Members
from limbeck.data.mixing import CutMix
from limbeck.data.raw import RawFiles, Setting
from limbeck.data.readers import decode
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.sources.folders import listing
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.views import Flip
from limbeck.errors import LimbeckError


def epoch(examples, number=0, **changes):
    rounds = examples.epoch(number, **({"batch_size": 8, "seed": 3, "views": 2} | changes))
    return [batch for step in rounds for batch in step.parts]


def files(tree, views, mix=None, workers=0, size=16):
    found = listing(tree / "train")
    raw = RawFiles(found.paths, found.labels, found.identity, size)
    members = Members(np.arange(len(found.paths)), found.labels, len(found.paths), found.classes)
    return raw.examples(members, Setting((0.0,) * 3, (1.0,) * 3, views, mix, workers, "cpu")), found


def test_files_are_cropped_in_the_workers_and_changed_on_the_device(image_tree, by_id):
    crop = RandomResizedCrop(16, (0.3, 1.0))
    examples, found = files(image_tree(), (crop, Flip()))
    for example, (views, label, _) in by_id(epoch(examples, 2, batch_size=5)).items():
        assert label == found.labels[example]
        for number, view in enumerate(views):
            image = decode(found.paths[example])
            ids = torch.tensor([example])
            given = draws.uniform(3, 2, number, ids, crop.slots, stream=draws.SIZE)
            top, left, height, width = (int(side) for side in crop.boxes(given, *image.shape[1:]))
            expected = transforms.v2.functional.resized_crop(image, top, left, height, width, [16, 16], antialias=True)
            flipped = draws.uniform(3, 2, number, ids, 1) < 0.5
            assert torch.equal(view, (expected.flip(-1) if flipped else expected) / 255)


@pytest.mark.parametrize("mixer", [None, CutMix()])
def test_workers_do_not_matter_to_files(image_tree, same, mixer):
    tree, views = image_tree(), (RandomResizedCrop(16), Flip())
    runs = [files(tree, views, mixer, workers)[0] for workers in (0, 2)]
    for one, two in zip(*(epoch(run, batch_size=4) for run in runs), strict=True):
        same(one, two)


def test_files_are_evaluated_at_their_centre(image_tree):
    examples, found = files(image_tree(), (RandomResizedCrop(16),))
    seen = torch.cat([batch.views[0] for batch in examples.in_order(4)])
    change = transforms.v2.Compose([transforms.v2.Resize(18, antialias=True), transforms.v2.CenterCrop(16)])
    assert torch.equal(seen, torch.stack([change(decode(path)) for path in found.paths]) / 255)
    assert examples.shape == (3, 16, 16)
    assert seen.shape == (10, 3, 16, 16)


def test_without_a_random_crop_files_are_seen_at_their_centre(image_tree):
    examples, _ = files(image_tree(), ())
    plain = torch.cat([batch.views[0] for batch in examples.in_order(4)])
    for batch in epoch(examples, batch_size=4):
        assert torch.equal(batch.views[0], plain[batch.ids])


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ((Flip(), RandomResizedCrop(16)), "make it the first view, once"),
        ((RandomResizedCrop(16), RandomResizedCrop(16)), "make it the first view, once"),
        ((RandomResizedCrop(8),), "has size 8, but the source has size 16"),
    ],
)
def test_a_random_crop_of_files_comes_first_and_fits(image_tree, views, message):
    with pytest.raises(LimbeckError, match=message):
        files(image_tree(), views)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_file_is_named(image_tree, workers):
    tree = image_tree()
    (tree / "train" / "dog" / "3.png").write_bytes((tree / "train" / "dog" / "3.png").read_bytes()[:100])
    examples, _ = files(tree, (), workers=workers)
    with pytest.raises(LimbeckError, match=r"train/dog/3\.png: not a readable image") as caught:
        epoch(examples, batch_size=5)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_tells_files_apart(image_tree):
    tree = image_tree()
    before = files(tree, ())[0].fingerprint
    assert files(tree, (Flip(),))[0].fingerprint == before
    (tree / "train" / "cat" / "0.png").rename(tree / "train" / "cat" / "00.png")
    assert files(tree, ())[0].fingerprint != before


def test_image_folder_is_streamed(image_tree):
    raw = ImageFolder(str(image_tree(splits=("train", "val"))), size=16).load()
    assert raw.classes == ("cat", "dog")
    assert raw.test.labels.tolist() == [0] * 5 + [1] * 5


def test_a_file_is_decoded_once_for_all_its_views(image_tree, monkeypatch):
    examples, found = files(image_tree(), (RandomResizedCrop(16), Flip()))
    (one,) = zip(*(batch.views for batch in epoch(examples, views=1, batch_size=10)), strict=True)
    seen = []
    monkeypatch.setattr("limbeck.data.readers.decode", lambda path: seen.append(path) or decode(path))
    first, second, _ = zip(*(batch.views for batch in epoch(examples, views=3, batch_size=10)), strict=True)
    assert sorted(seen) == sorted(found.paths)
    assert torch.equal(torch.cat(first), torch.cat(one))
    assert not torch.equal(torch.cat(first), torch.cat(second))
