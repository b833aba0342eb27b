"""Past predictions of two processes, on one machine and on two: everyone has everyone's rows after an epoch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.memory import TopK

KINDS = ["ram", "disk", "nodes"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for each kind, with what both processes found."""
    place = tmp_path_factory.mktemp("banks")
    worker = [sys.executable, str(Path(__file__).parent / "banks_worker.py"), str(place)]
    commands = [[*worker, str(rank), ",".join(KINDS)] for rank in (0, 1)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_all_reach_all_even_after_a_stop(place, kind):
    rows = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0)).softmax(2)
    # from the second epoch 0 (seen by both), 1, 2, 4 and 6, from the first 3, 5 and 7, of 8 nothing
    last = [1, 1, 1, 0, 1, 0, 1, 0]
    expected = torch.stack([rows[epoch, example] for example, epoch in enumerate(last)])
    expected = TopK(3).decode(TopK(3).encode(expected), 5)
    for rank in (0, 1):
        found, refused = torch.load(place / kind / f"found-{rank}", weights_only=True)
        assert torch.equal(found[:8], expected)
        assert not found[8].any()
        if kind != "ram":
            assert "holds another run's predictions (other data)" in refused
