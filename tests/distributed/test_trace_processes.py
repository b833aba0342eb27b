"""The trace of two processes is that of one."""

import pytest

from limbeck.train.record import read

RECIPE = [
    "train",
    "digits/pskd",
    "model.norm=none",
    "training.epochs=2",
    "training.batch_size=49",
    "training.checkpoint_steps=4",
    "training.trace=true",
    "optimiser.lr=0.05",
]


def test_two_processes_trace_what_one_does(one_and_two):
    place = one_and_two({"run": RECIPE})
    one, two = (read(place / processes / "run/metrics.jsonl") for processes in ("one", "two"))
    assert len(one) == 2
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        names = [name for name in mine if name.startswith("rescaling/")]
        assert len(names) == 20
        for name in names:
            # an example whose condition holds by a hair may fall on either side
            near = {"abs": 0.02} if name.endswith("/holds") else {"rel": 1e-3}
            assert theirs[name] == pytest.approx(mine[name], **near), name
