import gc
import multiprocessing
import random
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision import transforms

from limbeck.data.examples import Examples, Members
from limbeck.data.mixing import CutMix, Mixup
from limbeck.data.readers import seeded
from limbeck.data.streamed import StreamedExamples
from limbeck.data.views import Cutout, Flip, PadCrop
from limbeck.errors import LimbeckError


class Pictures:
    """A user's data set of (image, label) pairs that are given."""

    def __init__(self, images, targets):
        self.images, self.targets = images, targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def batches(rounds):
    return [batch for step in rounds for batch in step.parts]


def epoch(examples, number=0, **changes):
    return batches(examples.epoch(number, **({"batch_size": 8, "seed": 3, "views": 2} | changes)))


@pytest.mark.parametrize("mixer", [None, CutMix(1.0, 0.6)], ids=["plain", "cutmix"])
def test_workers_do_not_matter(noisy, same, mixer):
    runs = [StreamedExamples.wrap(noisy(), workers=workers, mix=mixer) for workers in (0, 2)]
    for number in (0, 1):
        for one, two in zip(*(epoch(run, number) for run in runs), strict=True):
            same(one, two)
    for one, two in zip(*(run.in_order(5) for run in runs), strict=True):
        same(one, two)


def test_a_users_own_transforms_are_replayable(noisy, by_id):
    examples = StreamedExamples.wrap(noisy(), workers=0)
    first, again, later = (by_id(epoch(examples, number, views=3)) for number in (0, 0, 1))
    drawn = torch.stack([view[0, 0, :3] for views, _, _ in first.values() for view in views])
    assert len(drawn.unique()) == 3 * 3 * 23
    for example, (views, label, _) in first.items():
        assert label == example % 3
        assert all(float(view[0, 1, 0]) == example for view in views)
        assert all(torch.equal(one, two) for one, two in zip(views, again[example][0], strict=True))
        assert not any(torch.equal(one, two) for one, two in zip(views, later[example][0], strict=True))


def test_global_generators_are_put_back(noisy):
    # Of Python's own, beartype takes numbers for its checks, so `seeded` is looked at alone for it.
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for workers in (0, 2):
        examples = StreamedExamples.wrap(noisy(targets=False), workers=workers)
        epoch(examples)
        list(examples.in_order(5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    state = random.getstate()
    with seeded(-3):
        random.random()
    assert random.getstate() == state


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_forgotten_workers_stop_at_once(noisy, no_collection):
    for _ in range(3):
        examples = StreamedExamples.wrap(noisy(), workers=1)
        next(examples.epoch(0, batch_size=8, seed=3))
        cycle = [examples]
        cycle.append(cycle)
    workers = multiprocessing.active_children()
    assert len(workers) >= 3
    del examples, cycle
    begin = time.monotonic()
    gc.collect()
    assert time.monotonic() - begin < 4
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_sees_the_same(noisy, by_id, world):
    examples = StreamedExamples.wrap(noisy(), workers=0, mix=Mixup(1.0))
    alone = by_id(epoch(examples))
    together = by_id([batch for rank in range(world) for batch in epoch(examples, rank=rank, world=world, parts=2)])
    assert alone.keys() == together.keys()
    for example, (views, *rest) in alone.items():
        assert rest == list(together[example][1:])
        assert all(torch.equal(one, two) for one, two in zip(views, together[example][0], strict=True))


def test_resuming_gives_the_tail_and_reads_nothing_else(noisy, same):
    data = noisy()
    examples = StreamedExamples.wrap(data, workers=0)
    whole = epoch(examples)
    data.read.clear()
    tail = epoch(examples, start=1)
    for one, two in zip(whole[1:], tail, strict=True):
        same(one, two)
    assert sorted(data.read) == sorted(example for batch in tail for example in batch.ids.tolist() for _ in range(2))


@pytest.mark.parametrize("workers", [0, 2])
def test_passes_may_be_left_or_interleaved(noisy, same, workers):
    examples = StreamedExamples.wrap(noisy(), workers=workers)
    whole = epoch(examples)
    left = examples.epoch(0, batch_size=8, seed=3, views=2)
    same(next(left).parts[0], whole[0])
    inner = torch.cat([batch.ids for batch in examples.in_order(4)])
    assert inner.tolist() == list(range(23))
    same(next(left).parts[0], whole[1])
    left.close()
    for one, two in zip(epoch(examples), whole, strict=True):
        same(one, two)


def test_a_mixed_image_is_made_of_two_views(noisy, by_id):
    plain = by_id(epoch(StreamedExamples.wrap(noisy(), workers=0)))
    mixed = by_id(epoch(StreamedExamples.wrap(noisy(), workers=0, mix=Mixup(1.0, 0.7))))
    weights = [mix[2] for _, _, mix in mixed.values()]
    assert 0 < sum(weight == 1 for weight in weights) < len(weights)
    for example, (views, label, (partner, other, weight)) in mixed.items():
        assert (label, other) == (example % 3, partner % 3)
        for number, view in enumerate(views):
            torch.testing.assert_close(
                view, weight * plain[example][0][number] + (1 - weight) * plain[partner][0][number]
            )


def test_only_partners_that_are_mixed_in_are_read(noisy):
    data = noisy()
    examples = StreamedExamples.wrap(data, workers=0, mix=CutMix(1.0, 0.0))
    data.read.clear()
    epoch(examples, views=1)
    assert sorted(data.read) == list(range(23))


def test_eight_bit_images_take_the_views_of_resident_ones(resident, same):
    views, mixer = (PadCrop(2), Flip(), Cutout(3)), CutMix()
    _, pixels = resident()
    members = Members(np.arange(50), np.arange(50) % 5, 50, tuple("abcde"))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    kept = type(resident()[0])(pixels, members, mean=mean, std=std, views=views, mix=mixer)
    data = Pictures(list(pixels), members.labels)
    streamed = StreamedExamples.wrap(data, members.classes, mean=mean, std=std, views=views, mix=mixer, workers=0)
    for one, two in zip(epoch(kept), epoch(streamed), strict=True):
        same(one, two)
    for one, two in zip(kept.in_order(9), streamed.in_order(9), strict=True):
        same(one, two)


def test_pil_images_and_torchvision_transforms():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    examples = StreamedExamples.wrap(Pictures(images, [0, 1] * 3), workers=0)
    found = torch.cat([batch.views[0] for batch in examples.in_order(4)])
    assert torch.equal(found, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    change = transforms.Compose([transforms.RandomCrop(8, 2), transforms.RandomHorizontalFlip(), transforms.ToTensor()])

    class Changed(Pictures):
        def __getitem__(self, index):
            return change(self.images[index]), self.targets[index]

    examples = StreamedExamples.wrap(Changed(images, [0, 1] * 3), workers=0)
    one, two = (torch.cat([batch.views[0] for batch in epoch(examples, batch_size=3)]) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda labels: [np.int32(label) for label in labels]])
def test_targets_may_be_of_any_kind(kind):
    images = list(torch.zeros(4, 1, 2, 2))
    examples = StreamedExamples.wrap(Pictures(images, kind([0, 2, 1, 1])), workers=0)
    assert examples.labels.tolist() == [0, 2, 1, 1]
    assert examples.classes == ("0", "1", "2")


def test_without_targets_the_data_set_is_asked(noisy):
    examples = StreamedExamples.wrap(Subset(noisy(), [5, 4, 3, 2]), workers=0)
    assert examples.labels.tolist() == [2, 1, 0, 2]


def test_a_part_keeps_its_ids(noisy, by_id):
    ids = np.array([2, 3, 5, 7, 11, 13])
    part, whole = StreamedExamples.wrap(noisy(), ids=ids, workers=0), StreamedExamples.wrap(noisy(), workers=0)
    assert (part.count, part.id_space) == (6, 23)
    assert sorted(example for batch in epoch(part, batch_size=3) for example in batch.ids.tolist()) == ids.tolist()
    assert part.fingerprint != whole.fingerprint
    seen = {
        example: row for batch in epoch(whole) for example, row in zip(batch.ids.tolist(), batch.views[0], strict=True)
    }
    for batch in epoch(part, batch_size=3):
        for example, row in zip(batch.ids.tolist(), batch.views[0], strict=True):
            assert torch.equal(row, seen[example])


def test_attributes(noisy):
    examples = StreamedExamples.wrap(noisy(), workers=0)
    assert isinstance(examples, Examples)
    assert (examples.classes, examples.shape, examples.count, examples.id_space) == (("a", "b", "c"), (3, 4, 5), 23, 23)
    assert (examples.mean, examples.std, examples.steps(8)) == ((0.0,) * 3, (1.0,) * 3, 3)


FLOATS = list(torch.zeros(4, 1, 2, 2))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (Pictures([], []), {}, "the data set is empty"),
        (Pictures(FLOATS, [0, 1, 2.5, 1]), {}, r"the label of example 2 of the data set is 2\.5, not a whole number"),
        (Pictures(FLOATS, ["a", "b", "a", "b"]), {}, "the label of example 0 of the data set is 'a', not a whole"),
        (Pictures(FLOATS, torch.tensor([0.0, 1, 0, 1])), {}, r"is 0\.0, not a whole number"),
        (Pictures(FLOATS, [0, True, 0, 1]), {}, "the label of example 1 of the data set is True"),
        (Pictures(FLOATS, [0, 1, -1, 1]), {}, r"the label of example 2 is -1, outside 0\.\.1"),
        (Pictures(FLOATS, [0, 1, 2, 1]), {"classes": ["a", "b"]}, r"the label of example 2 is 2, outside 0\.\.1"),
        (Pictures(FLOATS, [0, 0, 0, 0]), {}, "only one class"),
        (Pictures(FLOATS, [0, 1, 0]), {}, r"4 examples but 3 \.targets"),
        (Pictures(["x"] * 4, [0, 1, 0, 1]), {}, "the image of example 0 of the data set is neither a tensor"),
        (Pictures(list(torch.zeros(4, 2, 2)), [0, 1, 0, 1]), {}, r"neither a tensor \[C, H, W\] nor"),
        (Pictures([i.long() for i in FLOATS], [0, 1, 0, 1]), {}, r"is torch\.int64: convert it to uint8 or float"),
        (Pictures(FLOATS, [0, 1, 0, 1]), {"mean": (0.5,), "std": (0.5,)}, "mean and std are for 8-bit images"),
        (torch.zeros(4, 1, 2, 2), {}, r"isn't a pair \(image, label\)"),
    ],
)
def test_mistakes_in_a_data_set_are_told_at_once(data, options, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        StreamedExamples.wrap(data, **options, workers=0)
    assert "\n" not in str(caught.value)


class Fickle(Pictures):
    """Its labels aren't those of its targets."""

    def __getitem__(self, index):
        return self.images[index], 1 if index == 2 else self.targets[index]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Pictures([*FLOATS, torch.zeros(1, 2, 3)], [0, 1] * 2 + [0]),
            "example 4 of the data set is 1x2x3 float32, but example 0 is",
        ),
        (
            Pictures([*FLOATS, torch.zeros(1, 2, 2).byte()], [0, 1] * 2 + [0]),
            "example 4 of the data set is 1x2x2 uint8",
        ),
        (Fickle(FLOATS, [0, 1, 0, 1]), r"example 2 of the data set has label 1, but its \.targets say 0"),
    ],
)
def test_mistakes_that_show_later_are_one_line_as_well(data, message, workers, monkeypatch):
    monkeypatch.setattr("limbeck.data.streamed.SAMPLED", 1)
    examples = StreamedExamples.wrap(data, workers=workers)
    with pytest.raises(LimbeckError, match=message) as caught:
        epoch(examples, batch_size=2)
    assert "\n" not in str(caught.value)
