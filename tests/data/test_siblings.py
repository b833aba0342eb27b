"""Another example of the same class, for every example and epoch."""

import numpy as np
import pytest
import torch
from scipy import stats

from limbeck.data.mixing import CutMix, Mixup
from limbeck.data.siblings import lonely, same_class
from limbeck.data.streamed import StreamedExamples
from limbeck.data.views import Flip, PadCrop

IDS = torch.arange(4000) * 3 + 1
LABELS = torch.arange(4000) * 7 % 20


def batches(examples, **changes):
    settings = {"batch_size": 8, "seed": 3, "siblings": True} | changes
    return [batch for step in examples.epoch(settings.pop("epoch", 0), **settings) for batch in step.parts]


def test_a_sibling_is_another_example_of_the_class_and_each_is_as_likely():
    drawn = same_class(1, 2, IDS, LABELS)
    assert torch.equal(LABELS[drawn], LABELS)
    assert not (drawn == torch.arange(4000)).any()
    ten = torch.arange(10) % 2
    found = torch.stack([same_class(1, epoch, torch.arange(10), ten) for epoch in range(4000)])
    for own in range(10):
        others = [position for position in range(own % 2, 10, 2) if position != own]
        counts = [(found[:, own] == other).sum().item() for other in others]
        assert sum(counts) == 4000
        assert stats.chisquare(counts).pvalue > 1e-4


def test_siblings_depend_on_their_address_only():
    assert torch.equal(same_class(1, 2, IDS, LABELS), same_class(1, 2, IDS, LABELS))
    assert not torch.equal(same_class(1, 2, IDS, LABELS), same_class(1, 3, IDS, LABELS))
    assert not torch.equal(same_class(1, 2, IDS, LABELS), same_class(2, 2, IDS, LABELS))


def test_alone_in_a_class_one_is_ones_own_sibling():
    labels = torch.tensor([0, 2, 0, 1])
    assert same_class(0, 0, torch.arange(4), labels).tolist() == [2, 1, 0, 3]
    assert lonely(labels.numpy(), "abcd") == ["b", "c"]
    assert lonely(np.array([0, 0, 1, 1]), "ab") == []


def test_a_sibling_is_seen_as_a_view_of_its_own(resident):
    """Not the view that the same image shows of itself in the same epoch."""
    examples, _ = resident(count=50, views=(PadCrop(2), Flip()))
    own = {
        int(example): view
        for batch in batches(examples)
        for example, view in zip(batch.ids, batch.views[0], strict=True)
    }
    drawn = same_class(3, 0, torch.from_numpy(examples.ids), torch.from_numpy(examples.labels))
    sibling_of = dict(zip(examples.ids.tolist(), examples.ids[drawn.numpy()].tolist(), strict=True))
    same = [
        torch.equal(seen, own[sibling_of[int(example)]])
        for batch in batches(examples)
        for example, seen in zip(batch.ids, batch.siblings[0], strict=True)
    ]
    assert not any(same)
    still, _ = resident(count=50)
    shown = {
        int(example): view for batch in batches(still) for example, view in zip(batch.ids, batch.views[0], strict=True)
    }
    for batch in batches(still):
        for example, seen in zip(batch.ids, batch.siblings[0], strict=True):
            assert torch.equal(seen, shown[sibling_of[int(example)]])


@pytest.mark.parametrize("mix", [None, CutMix(1.0, 1.0), Mixup(1.0)])
def test_asking_for_siblings_changes_nothing_else(resident, same, mix):
    examples, _ = resident(views=(Flip(),), mix=mix)
    for plain, more in zip(batches(examples, siblings=False), batches(examples), strict=True):
        same(plain, more)
        assert plain.siblings == ()
        assert len(more.siblings) == 1
        assert more.siblings[0].shape == more.views[0].shape


@pytest.mark.parametrize("mix", [CutMix(1.0, 1.0), Mixup(1.0)])
def test_of_a_mixed_image_the_siblings_of_both_are_mixed_alike(resident, mix):
    """With one image per class, siblings are the images themselves, and so is the mixture."""
    examples, _ = resident(count=5, mix=mix)
    for batch in batches(examples, batch_size=5):
        assert (batch.mix.weight < 1).any()
        torch.testing.assert_close(batch.siblings[0], batch.views[0])


@pytest.mark.parametrize("mix", [None, Mixup(1.0)])
def test_streamed_siblings_are_those_of_the_definition(noisy, mix):
    examples = StreamedExamples.wrap(noisy(), workers=0)
    mixed = StreamedExamples.wrap(noisy(), workers=0, mix=mix)
    drawn = same_class(3, 0, torch.from_numpy(examples.ids), torch.from_numpy(examples.labels)).tolist()
    for batch in batches(mixed, views=2):
        assert len(batch.siblings) == 2
        for row, example in enumerate(batch.ids.tolist()):
            # the data set's images are filled with their index, but for three noisy pixels
            expected = float(drawn[example])
            if batch.mix is not None:
                share = batch.mix.weight[row].item()
                expected = share * expected + (1 - share) * drawn[int(batch.mix.ids[row])]
            for view in batch.siblings:
                assert view[row, 0, 1:].flatten().tolist() == pytest.approx([expected] * 15, rel=1e-5)


def test_two_processes_see_the_siblings_of_one(resident):
    examples, _ = resident(count=40, views=(PadCrop(1),))
    one = {int(i): view for batch in batches(examples) for i, view in zip(batch.ids, batch.siblings[0], strict=True)}
    two = {
        int(i): view
        for rank in range(2)
        for batch in batches(examples, rank=rank, world=2)
        for i, view in zip(batch.ids, batch.siblings[0], strict=True)
    }
    assert one.keys() == two.keys()
    assert all(torch.equal(one[i], two[i]) for i in one)
