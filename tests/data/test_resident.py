import math

import numpy as np
import pytest
import torch

from limbeck.data import draws
from limbeck.data.examples import Examples, Members
from limbeck.data.mixing import CutMix, Mixup
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.resident import ResidentExamples
from limbeck.data.views import Cutout, Flip, PadCrop
from limbeck.errors import LimbeckError

VIEWS = (PadCrop(2), Flip(0.4), Cutout(3, 0.8))


def batches(rounds):
    return [batch for step in rounds for batch in step.parts]


def view_of(pixels, given, mean, std):
    """One image at a time, in float64: pad and crop, flip, normalise, cut out."""
    height, width = pixels.shape[1:]
    image = np.pad(pixels.numpy().astype(np.float64) / 255, ((0, 0), (2, 2), (2, 2)))
    top, left = math.floor(given[0] * 5), math.floor(given[1] * 5)
    image = image[:, top : top + height, left : left + width]
    if given[2] < 0.4:
        image = image[:, :, ::-1]
    image = (image - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    if given[5] < 0.8:
        y, x = math.floor(given[3] * height) - 1, math.floor(given[4] * width) - 1
        image[:, max(y, 0) : max(y + 3, 0), max(x, 0) : max(x + 3, 0)] = 0
    return image


def expected(examples, pixels, epoch, view, mixer):
    """What each id must look like, from the definitions."""
    ids = torch.from_numpy(examples.ids)
    given = draws.uniform(9, epoch, view, ids, 6).tolist()
    images = [view_of(image, row, examples.mean, examples.std) for image, row in zip(pixels, given, strict=True)]
    if mixer is None:
        return dict(zip(ids.tolist(), images, strict=True)), {}
    plan = mixer.plan(9, epoch, ids, *pixels.shape[2:])
    mixed, partners = {}, {}
    for row, example in enumerate(ids.tolist()):
        partner, weight, (top, left, bottom, right) = (column[row].tolist() for column in plan)
        image = images[row].copy()
        if isinstance(mixer, CutMix):
            image[:, top:bottom, left:right] = images[partner][:, top:bottom, left:right]
        else:
            image = weight * image + (1 - weight) * images[partner]
        mixed[example] = image
        partners[example] = (int(examples.ids[partner]), int(examples.labels[partner]), weight)
    return mixed, partners


@pytest.mark.parametrize("mixer", [None, CutMix(1.0, 0.7), Mixup(0.5)], ids=["plain", "cutmix", "mixup"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_views_are_those_of_a_naive_loader(resident, by_id, mixer, epoch):
    examples, pixels = resident(views=VIEWS, mix=mixer)
    found = by_id(batches(examples.epoch(epoch, batch_size=12, seed=9, views=2, parts=2)))
    assert sorted(found) == examples.ids.tolist()
    for view in range(2):
        images, partners = expected(examples, pixels, epoch, view, mixer)
        for position, example in enumerate(examples.ids.tolist()):
            seen, label, mix = found[example]
            assert label == examples.labels[position]
            assert mix == partners.get(example)
            np.testing.assert_allclose(seen[view], images[example], atol=2e-6)


@pytest.mark.parametrize("mixer", [None, CutMix(), Mixup()], ids=["plain", "cutmix", "mixup"])
@pytest.mark.parametrize(("world", "parts"), [(2, 1), (1, 3), (3, 2)])
def test_any_number_of_processes_sees_the_same(resident, by_id, mixer, world, parts):
    examples, _ = resident(views=VIEWS, mix=mixer)
    whole = list(examples.epoch(1, batch_size=20, seed=0, views=2))
    shared = [
        list(examples.epoch(1, batch_size=20, seed=0, views=2, rank=rank, world=world, parts=parts))
        for rank in range(world)
    ]
    for one, *two in zip(whole, *shared, strict=True):
        assert all(step.total == one.total == len(one.parts[0].ids) for step in two)
        assert all(len(step.parts) == parts for step in two)
        alone, together = by_id(one.parts), by_id(batches(two))
        assert alone.keys() == together.keys()
        for example, (views, label, mix) in alone.items():
            other, its_label, its_mix = together[example]
            assert (label, mix) == (its_label, its_mix)
            assert all(torch.equal(first, second) for first, second in zip(views, other, strict=True))


def test_resuming_gives_the_tail(resident, same):
    examples, _ = resident(views=VIEWS, mix=CutMix())
    whole = list(examples.epoch(2, batch_size=15, seed=1, parts=2))
    tail = list(examples.epoch(2, batch_size=15, seed=1, parts=2, start=2))
    assert len(whole) == examples.steps(15) == 4
    assert [step.total for step in tail] == [step.total for step in whole[2:]]
    for one, two in zip(batches(whole[2:]), batches(tail), strict=True):
        same(one, two)


def test_epochs_seeds_and_view_numbers_differ(resident, by_id):
    examples, _ = resident(views=(PadCrop(4), Flip()))
    runs = [
        by_id(batches(examples.epoch(epoch, batch_size=50, seed=seed, views=2)))
        for epoch, seed in ((0, 0), (1, 0), (0, 1))
    ]
    seen = [
        torch.stack([run[example][0][view] for example in examples.ids.tolist()]) for run in runs for view in (0, 1)
    ]
    for first in range(len(seen)):
        for second in range(first):
            assert (seen[first] != seen[second]).flatten(1).any(dim=1).float().mean() > 0.9


def test_the_first_view_does_not_depend_on_how_many_there_are(resident):
    examples, _ = resident(views=VIEWS)
    one, two = (next(examples.epoch(0, batch_size=10, seed=0, views=views)).parts[0] for views in (1, 3))
    assert torch.equal(one.views[0], two.views[0])
    assert len(two.views) == 3


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_is_plain_and_in_order(resident, world):
    examples, pixels = resident(views=VIEWS, mix=Mixup())
    seen = [batch for rank in range(world) for batch in examples.in_order(7, rank, world)]
    assert torch.cat([batch.ids for batch in seen]).tolist() == examples.ids.tolist()
    assert torch.cat([batch.labels for batch in seen]).tolist() == examples.labels.tolist()
    assert all(batch.mix is None for batch in seen)
    mean, std = (torch.tensor(given)[:, None, None] for given in (examples.mean, examples.std))
    torch.testing.assert_close(torch.cat([batch.views[0] for batch in seen]), (pixels / 255 - mean) / std)


def test_attributes(resident):
    examples, _ = resident()
    assert isinstance(examples, Examples)
    assert (examples.classes, examples.shape) == (("a", "b", "c", "d", "e"), (3, 8, 10))
    assert (examples.count, examples.id_space, examples.steps(20)) == (50, 151, 3)


def test_the_fingerprint_tells_pixels_labels_and_ids_apart():
    pixels, ids, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), np.arange(4), np.array([0, 1, 0, 1])

    def fingerprint(pixels, ids, labels, space=9):
        members = Members(ids, labels, space, ("a", "b"))
        return ResidentExamples(pixels, members, mean=(0.5,), std=(0.5,)).fingerprint

    other = pixels.clone()
    other[3, 0, 1, 1] = 1
    found = {
        fingerprint(pixels, ids, labels),
        fingerprint(other, ids, labels),
        fingerprint(pixels, ids + 1, labels),
        fingerprint(pixels, ids, 1 - labels),
        fingerprint(pixels, ids, labels, 10),
        fingerprint(pixels.reshape(4, 1, 1, 4), ids, labels),
    }
    assert len(found) == 6
    assert fingerprint(pixels.clone(), ids, labels) in found


def test_no_global_generator_is_touched(resident):
    examples, _ = resident(views=VIEWS, mix=CutMix())
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(examples.epoch(0, batch_size=10, seed=0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_mistakes_are_told_at_once(resident):
    examples, pixels = resident()
    with pytest.raises(LimbeckError, match="batch_size 60 is larger than the 50 training examples"):
        examples.epoch(0, batch_size=60, seed=0)
    with pytest.raises(LimbeckError, match="makes images of 5x5 pixels, but evaluation is at 8x10"):
        resident(views=(RandomResizedCrop(5),))
    wrong = Members(np.arange(50), np.arange(50) % 6, 50, tuple("abcde"))
    with pytest.raises(LimbeckError, match=r"the label of example 5 is 5, outside 0\.\.4"):
        ResidentExamples(pixels, wrong, mean=(0.5,) * 3, std=(0.5,) * 3)
    nobody = Members(np.arange(0), np.arange(0), 50, tuple("abcde"))
    with pytest.raises(LimbeckError, match="is empty"):
        ResidentExamples(pixels[:0], nobody, mean=(0.5,) * 3, std=(0.5,) * 3)
