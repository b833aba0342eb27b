import numpy as np
import pytest

from limbeck.data.split import stratified_split, stratified_subset
from limbeck.errors import LimbeckError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (50, 30, 15, 5)))


@pytest.mark.parametrize("held_out", [0.2, 20])
def test_every_class_in_its_proportion(held_out):
    kept, held = stratified_split(LABELS, held_out, seed=3)
    assert sorted(np.concatenate((kept, held))) == list(range(100))
    assert np.array_equal(kept, np.sort(kept))
    assert np.array_equal(held, np.sort(held))
    assert np.bincount(LABELS[held]).tolist() == [10, 6, 3, 1]


def test_largest_remainders_fill_up():
    # Quotas 3.68, 2.21 and 1.11: their floors leave one place, for the first class.
    _, held = stratified_split(LABELS[LABELS < 3], 7, seed=0)
    assert np.bincount(LABELS[LABELS < 3][held]).tolist() == [4, 2, 1]


def test_a_split_depends_on_its_seed_only():
    one, two = stratified_split(LABELS, 20, seed=1), stratified_split(LABELS, 20, seed=1)
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert not np.array_equal(one[1], stratified_split(LABELS, 20, seed=2)[1])


def test_examples_of_a_class_are_held_out_alike():
    counts = sum(np.isin(np.arange(40), stratified_split(np.arange(40) % 2, 8, seed)[1]) for seed in range(400))
    assert np.abs(counts - 80).max() < 5 * np.sqrt(80)


def test_subset():
    chosen = stratified_subset(LABELS, 20, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [10, 6, 3, 1]
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(stratified_subset(LABELS, 100, seed=0), np.arange(100))
    assert set(stratified_subset(LABELS, 20, seed=0)) <= set(stratified_subset(LABELS, 40, seed=0))


def test_classes_without_examples_are_no_matter():
    kept, held = stratified_split(np.array([0, 0, 5, 5]), 2, seed=0)
    assert (len(kept), len(held)) == (2, 2)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda: stratified_split(LABELS, 0.01, 0), "no example of class 1 would be held out: it has 30 of the 100"),
        (lambda: stratified_split(LABELS, 99, 0), "no example of class 1 would be kept"),
        (lambda: stratified_split(LABELS, 100, 0), "can't hold 100 of 100 training examples out"),
        (lambda: stratified_split(LABELS, 0.001, 0), "can't hold 0 of 100 training examples out"),
        (lambda: stratified_subset(LABELS, 4, 0), "a subset of 4 training examples would have none of class 3"),
        (lambda: stratified_subset(LABELS, 101, 0), "can't choose 101 of 100 training examples"),
    ],
)
def test_impossible_splits(cut, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        cut()
    assert "\n" not in str(caught.value)
