import numpy as np
import pytest

from limbeck.data.order import batch_sizes, chunks, itinerary, permutation, shard_of, shard_sizes, share
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
    (sizes,) = batch_sizes([n], batch_size).tolist()
    assert sum(sizes) == n
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
    batches = np.array_split(permutation(1, 0, 50), 5)
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


# processes of each node: one, several, unevenly many
LAYOUTS = [(0, 1), (0, 0, 1, 1), (0, 1, 2), (4, 4, 7), (0, 1, 0, 1), (0, 0, 0)]


@pytest.mark.parametrize("shards", LAYOUTS)
def test_shards_part_the_examples_as_their_processes(shards):
    n, world = 101, len(shards)
    owned = {number: shard_of(n, shards, shards.index(number)) for number in set(shards)}
    assert sorted(np.concatenate(list(owned.values()))) == list(range(n))
    assert [len(owned[number]) for number in sorted(owned)] == shard_sizes(n, shards)
    for rank, number in enumerate(shards):
        assert np.array_equal(shard_of(n, shards, rank), owned[number])
        assert abs(len(owned[number]) - n * shards.count(number) / world) < 1
    if len(owned) > 1:
        # not simply the first so many: labels may be sorted
        assert not np.array_equal(owned[min(owned)], np.arange(len(owned[min(owned)])))


@pytest.mark.parametrize("shards", LAYOUTS)
@pytest.mark.parametrize(("batch_size", "parts"), [(12, 1), (25, 2), (50, 3), (101, 1)])
def test_batches_take_their_due_of_every_shard(shards, batch_size, parts):
    n, world = 101, len(shards)
    settings = {"n": n, "batch_size": batch_size, "world": world, "parts": parts, "shards": shards}
    whole = [plan(rank=0, **{**settings, "world": 1, "shards": (), "parts": 1}).totals]
    for epoch in range(3):
        routes = [plan(rank=rank, epoch=epoch, **settings) for rank in range(world)]
        assert sorted(np.concatenate([route.positions for route in routes])) == list(range(n))
        for rank, route in enumerate(routes):
            assert set(route.positions) <= set(shard_of(n, shards, rank))
            assert np.array_equal(route.shard, shard_of(n, shards, rank))
            assert route.totals == whole[0]
        for step, total in enumerate(whole[0]):
            counts = [[piece.stop - piece.start for piece in route.pieces[step]] for route in routes]
            assert sum(map(sum, counts)) == total
            assert min(map(min, counts)) >= 1
            assert max(map(sum, counts)) - min(map(sum, counts)) <= (
                1 if len(set(map(shards.count, shards))) == 1 else 2
            )


def test_a_shards_order_is_new_in_every_epoch_and_with_every_seed():
    def order(**changes):
        return plan(shards=(0, 1), world=2, **changes).positions.tolist()

    assert order() == order()
    for other in (order(epoch=1), order(seed=2), order(rank=1)):
        assert order() != other
    assert sorted(order()) == sorted(order(epoch=1)) == sorted(order(seed=2))
    # two shards are shuffled independently
    first, second = (np.searchsorted(shard_of(50, (0, 1), r), order(rank=r)).tolist() for r in (0, 1))
    assert first != second


@pytest.mark.parametrize("shards", [(0,), (3,), (0, 0, 0), (5, 5)])
def test_one_shard_is_the_global_order_bit_for_bit(shards):
    for rank in range(len(shards)):
        settings = {"rank": rank, "world": len(shards), "parts": 2}
        alike = zip(plan(**settings), plan(shards=shards, **settings), strict=True)
        assert all(np.array_equal(one, other) for one, other in alike)


def test_a_shard_from_a_later_step_is_the_tail():
    settings = {"world": 2, "rank": 1, "shards": (0, 1), "parts": 2}
    whole, tail = plan(**settings), plan(start=3, **settings)
    assert tail.totals == whole.totals[3:]
    for one, two in zip(tail.pieces, whole.pieces[3:], strict=True):
        for first, second in zip(one, two, strict=True):
            assert np.array_equal(tail.positions[first], whole.positions[second])


def test_shards_never_change_between_releases():
    assert [shard_of(10, (0, 1), rank).tolist() for rank in (0, 1)] == [[4, 5, 6, 8, 9], [0, 1, 2, 3, 7]]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_batch_too_small_for_a_shard_is_told_by_all(rank):
    with pytest.raises(LimbeckError, match=r"a batch of 2 examples can't serve 3 process\(es\)"):
        plan(n=20, batch_size=2, rank=rank, world=3, shards=(0, 1, 2))
