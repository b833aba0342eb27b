"""Views that come again: those of epoch e are those of epoch e mod cycle, whoever's run it is."""

import pytest
import torch

from limbeck.data.load import Data
from limbeck.data.mixing import CutMix, Mixup
from limbeck.data.passes import Recurrence
from limbeck.data.resampling import RandomResizedCrop
from limbeck.data.sources.digits import Digits
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.views import Cutout, Flip, PadCrop


@pytest.fixture(params=["resident", "streamed"])
def load(request, image_tree):
    """Return a function that loads few training examples, resident or streamed."""

    def make(**fields):
        if request.param == "resident":
            few = {"examples": 40, "views": (PadCrop(2), Flip(), Cutout(3))}
            return Data(source=Digits(), **(few | fields)).load("cpu").train
        views = (RandomResizedCrop(8), Flip())
        root = image_tree(count=8) if not made else made[0]
        made[:] = [root]
        source = ImageFolder(str(root), 8)
        return Data(source=source, **({"validation": 0, "workers": 0, "views": views} | fields)).load("cpu").train

    made = []
    return make


@pytest.fixture
def shown(by_id):
    """Return a function that says what is seen of each example in an epoch."""

    def see(examples, epoch, seed=0, **more):
        rounds = examples.epoch(epoch, batch_size=7, seed=seed, views=2, **more)
        return by_id([part for step in rounds for part in step.parts])

    return see


def equal(one, two):
    assert one.keys() == two.keys()
    pairs = [(*one[key], *two[key]) for key in one]
    return all(
        mix == other_mix and all(map(torch.equal, views, others)) for views, _, mix, others, _, other_mix in pairs
    )


@pytest.mark.parametrize("mix", [None, Mixup(1.0), CutMix(1.0, 1.0)], ids=["plain", "mixup", "cutmix"])
def test_views_and_mixing_come_again_after_the_cycle_and_differ_within_it(load, shown, mix):
    examples = load(mix=mix, view_seed=5, cycle=3)
    epochs = [shown(examples, epoch) for epoch in range(7)]
    for epoch in (3, 4, 5, 6):
        assert equal(epochs[epoch], epochs[epoch % 3])
    assert not any(equal(epochs[a], epochs[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("mix", [None, Mixup(1.0)], ids=["plain", "mixup"])
def test_with_a_seed_of_their_own_views_are_the_same_in_every_run(load, shown, mix):
    shared, own = load(mix=mix, view_seed=5), load(mix=mix)
    assert equal(shown(shared, 1, seed=0), shown(shared, 1, seed=8))
    assert not equal(shown(own, 1, seed=0), shown(own, 1, seed=8))
    assert equal(shown(shared, 1, seed=0), shown(own, 1, seed=5))


def test_the_order_stays_the_runs_own(load):
    examples = load(view_seed=5, cycle=1)
    orders = [
        torch.cat([part.ids for step in examples.epoch(epoch, batch_size=7, seed=seed) for part in step.parts]).tolist()
        for epoch, seed in ((0, 0), (1, 0), (0, 1))
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert len(set(map(tuple, orders))) == 3


def test_parts_of_an_epoch_see_the_same_as_the_whole(load, shown):
    examples = load(mix=Mixup(1.0), view_seed=5, cycle=2)
    whole = shown(examples, 3)
    halves = [shown(examples, 3, rank=rank, world=2) for rank in range(2)]
    assert equal(halves[0] | halves[1], whole)


def test_nothing_changes_where_neither_is_set():
    assert Recurrence().of(4, 9) == (4, 9)
    assert Recurrence(7).of(4, 9) == (7, 9)
    assert Recurrence(cycle=4).of(4, 9) == (4, 1)
    assert Recurrence(0, 3).of(4, 9) == (0, 0)


def test_evaluation_is_not_changed():
    plain, again = (
        Data(source=Digits(), **fields).load("cpu").validation for fields in ({}, {"view_seed": 1, "cycle": 2})
    )
    for one, two in zip(plain.in_order(50), again.in_order(50), strict=True):
        assert torch.equal(one.views[0], two.views[0])
