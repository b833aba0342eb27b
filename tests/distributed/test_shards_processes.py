"""Examples that stay on their process or node: past predictions are where they are needed, and nobody sends them."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.core import Room
from limbeck.memory import PredictionBank, TopK
from limbeck.memory.sizes import Layout, traffic

HERE = Path(__file__).parent
EXAMPLES, CLASSES, KIND = 23, 6, TopK(2, "float16")
ROW = KIND.row_bytes(CLASSES) + 4


# home, within, nodes
APART = [
    ("ram", "process", 1),
    ("device", "process", 2),
    ("ram", "node", 2),
    ("disk", "process", 1),
    ("disk", "node", 1),
    ("disk", "node", 2),
]
TOGETHER = [("ram", "node", 1), ("ram", "global", 2), ("disk", "global", 2)]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What both processes sent, by home, within and number of nodes; the worker checks what is recalled."""
    folder = tmp_path_factory.mktemp("shards")
    cases = [*APART, *TOGETHER]
    worker = [sys.executable, str(HERE / "shards_worker.py"), str(folder)]
    commands = [[*worker, str(rank), json.dumps(cases)] for rank in (0, 1)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    both = [torch.load(folder / f"told-{rank}", weights_only=True) for rank in (0, 1)]
    return dict(zip(cases, zip(*both, strict=True), strict=True))


def promised(home, within, nodes):
    return traffic(Layout(EXAMPLES, CLASSES, 1, KIND), home, within, processes=2 // nodes, nodes=nodes)


@pytest.mark.parametrize("case", APART, ids=str)
def test_where_examples_stay_an_epoch_sends_nothing(told, case):
    assert promised(*case).epoch == 0
    for process in told[case]:
        assert process["epochs"] == [0, 0, 0, 0]
        # of each process the list is padded to the longest
        assert process["checkpoint"] == (0 if case[0] == "disk" else 12 * ROW)
    assert promised(*case).checkpoint == (0 if case[0] == "disk" else 23 * ROW / 2)


@pytest.mark.parametrize("case", TOGETHER, ids=str)
def test_what_an_epoch_sends_is_what_is_promised(told, case):
    assert promised(*case)[:1] == (23 * ROW / 2,)
    for process in told[case]:
        first, resumed, *others = process["epochs"]
        assert [first, *others] == [12 * ROW] * 3
        # the first process has what all had recorded before the stop
        assert 12 * ROW < resumed <= 23 * ROW or case[0] == "disk"


RECIPE = [
    "train",
    "digits/pskd",
    "model.norm=none",
    "training.epochs=3",
    "training.batch_size=49",
    "training.checkpoint_steps=2",
    "optimiser.lr=0.05",
    "data.mix=mixup",
]


def start(folder, *words, nodes, stop=10**6, devices=2):
    """Train in two processes, each on a node of its own where there are two; return codes and what was said."""
    arguments = [str(HERE / "stopping_worker.py"), *RECIPE, *words, "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "LIMBECK_TEST_STOP": str(stop)}
    if nodes == 1:
        launchers = [[*arguments, "--accelerator", "cpu", "--devices", str(devices)]]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        meeting = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        launchers = [
            [*launcher, "--node-rank", str(node), *meeting, *arguments, "--accelerator", "cpu"] for node in (0, 1)
        ]
    running = [
        subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for words in launchers
    ]
    said = [process.communicate(timeout=240)[0] for process in running]
    return [process.returncode for process in running], said


@pytest.mark.parametrize(
    ("shuffle", "bank", "nodes", "says"),
    [
        pytest.param(
            "process",
            "ram",
            1,
            r", on every process; nothing of them is sent, and [\d.]+ kB for a checkpoint ",
            id="process",
        ),
        pytest.param("node", "disk", 2, r"epochs in float32, [\d.]+ kB; nothing of them is sent ", id="node"),
    ],
)
def test_a_run_of_two_processes_goes_on_to_the_same_bits(tmp_path, shuffle, bank, nodes, says):
    words = [f"training.shuffle={shuffle}", f"method.bank={bank}"]
    codes, said = start(tmp_path / "whole", *words, nodes=nodes)
    assert set(codes) == {0}, said
    assert re.search(says, " ".join(said[0].split())), said[0]
    # within the second epoch and within the third, a step after a checkpoint
    for stop in (11, 8):
        codes, said = start(tmp_path / "cut", *words, nodes=nodes, stop=stop)
        assert 0 not in codes, said
    if nodes == 1:
        codes, said = start(tmp_path / "cut", *words, nodes=1, devices=1)
        assert codes != [0]
        assert "stay in 2 shard(s), and with the processes and nodes here there would be 1" in " ".join(said[0].split())
    codes, said = start(tmp_path / "cut", *words, nodes=nodes)
    assert set(codes) == {0}, said
    for name in ("student.safetensors", "student-best.safetensors", "metrics.jsonl"):
        whole, cut = ((tmp_path / run / name).read_bytes() for run in ("whole", "cut"))
        assert whole == cut, name

    if bank == "ram":
        newest = torch.load(max((tmp_path / "cut" / "checkpoints").iterdir()), weights_only=True)
        state = newest["objective"]["_extra_state"]["banks"][0]
        everyones = PredictionBank(Room(state["examples"]), "ram")
        everyones.load_state_dict(state)
        rows = everyones.recall(torch.arange(state["examples"]), torch.full((state["examples"], 10), -1.0))
        assert int((rows[:, 0] >= 0).sum()) == 300
