"""How far examples move: in one process it makes no difference, and mixed partners are of the same shard."""

import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.data.mixing import Mixup
from limbeck.data.order import shard_of
from limbeck.targets import PSKD


@pytest.mark.parametrize("shuffle", ["node", "process"])
def test_one_process_is_the_same_run_to_the_bit(train, weights, tmp_path, shuffle):
    whole = train(PSKD(0.8), mix=True)
    assert torch.equal(weights(whole), weights(train(PSKD(0.8), mix=True, shuffle=shuffle, accumulate=1)))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_partners_are_of_the_same_shard(tiny, rank):
    make, _ = tiny
    data = make(Mixup(1.0))
    shards = (0, 0, 1)
    own = set(data.ids[shard_of(data.count, shards, rank)].tolist())
    seen, partners = [], set()
    for epoch in range(2):
        for (batch,), _ in data.epoch(epoch, batch_size=20, seed=1, rank=rank, world=3, shards=shards):
            seen += batch.ids.tolist()
            partners |= set(batch.mix.ids[batch.mix.weight < 1].tolist())
            # each brings its own label
            assert batch.mix.labels.tolist() == data.labels[batch.mix.ids].tolist()
    assert set(seen) <= own
    assert partners <= own
    assert len(partners) > len(own) / 3


def test_a_run_whose_examples_would_move_is_refused(train, tmp_path):
    state = train(PSKD(0.8), shuffle="process")
    saved = state.state_dict()
    assert saved["shards"] == [61]
    state.shards = [31, 30]
    with pytest.raises(
        LimbeckError, match=r"stay in 1 shard\(s\), and with the processes and nodes here there would be 2"
    ):
        state.load_state_dict(saved)
