import numpy as np
import pytest

from limbeck.data.order import chunks, epoch_batches, itinerary, permutation, share
from limbeck.errors import LimbeckError


def test_permutation_is_one_and_a_pure_function():
    order = permutation(3, 4, 1000)
    assert sorted(order) == list(range(1000))
    assert np.array_equal(order, permutation(3, 4, 1000))
    for other in (permutation(4, 3, 1000), permutation(3, 5, 1000), permutation(4, 4, 1000)):
        assert not np.array_equal(order, other)


def test_permutation_never_changes_between_releases():
    assert permutation(0, 0, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_all_orders_are_equally_likely():
    counts = np.zeros((6, 6))
    for epoch in range(3000):
        counts[np.arange(6), permutation(0, epoch, 6)] += 1
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (129, 128), (128, 128), (7, 1), (1000, 64)])
def test_batches_part_the_epoch_evenly(n, batch_size):
    batches = epoch_batches(n, batch_size, seed=1, epoch=2)
    assert sorted(np.concatenate(batches)) == list(range(n))
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == -(-n // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (3, 2), (1, 5)])
def test_shares_part_the_batch(world, parts):
    batch = permutation(0, 0, 31)
    pieces = [piece for rank in range(world) for piece in share(batch, rank, world, parts)]
    assert len(pieces) == world * parts
    assert sorted(np.concatenate(pieces)) == list(range(31))
    for rank in range(world):
        sizes = [len(piece) for piece in share(batch, rank, world, parts)]
        assert max(sizes) - min(sizes) <= 1
        assert np.array_equal(np.concatenate(share(batch, rank, world, parts)), batch[rank::world])


def plan(**changes):
    return itinerary(
        **{"n": 50, "batch_size": 12, "seed": 1, "epoch": 0, "rank": 0, "world": 1, "parts": 1, "start": 0} | changes
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_itinerary_is_the_shares_of_the_batches(rank):
    route = plan(rank=rank, world=2, parts=3)
    batches = epoch_batches(50, 12, 1, 0)
    assert route.totals == [len(batch) for batch in batches]
    for pieces, batch in zip(route.pieces, batches, strict=True):
        for piece, expected in zip(pieces, share(batch, rank, 2, 3), strict=True):
            assert np.array_equal(route.positions[piece], expected)


def test_itinerary_from_a_later_step_is_the_tail():
    whole, tail = plan(parts=2), plan(parts=2, start=3)
    assert tail.totals == whole.totals[3:]
    for one, two in zip(tail.pieces, whole.pieces[3:], strict=True):
        for first, second in zip(one, two, strict=True):
            assert np.array_equal(tail.positions[first], whole.positions[second])
    assert plan(start=5).pieces == []


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_chunks_visit_each_once_in_order(world):
    seen = [list(range(20))[piece] for rank in range(world) for piece in chunks(20, 4, rank, world)]
    assert [position for part in seen for position in part] == list(range(20))
    assert max(map(len, seen)) <= 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 256, "n": 200}, "batch_size 256 is larger than the 200 training examples: "),
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        ({"world": 4, "parts": 4}, r"a batch of 10 examples can't serve 4 process\(es\) with 4 micro-batch"),
        ({"start": 6}, "can't resume at step 6 of an epoch of 5 steps"),
        ({"start": -1}, "can't resume at step -1"),
    ],
)
def test_what_cannot_be_cut_is_an_error(changes, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        plan(**changes)
    assert "\n" not in str(caught.value)
