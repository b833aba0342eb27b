"""Command lines of limbeck in one process, this one, and in two, which several lines share: starting takes longest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.cli.app import app

CPU = ["--accelerator", "cpu", "--devices"]


@pytest.fixture(scope="session")
def alone():
    """Return a function that runs a command line in this process: alone("train", "digits/pskd")."""

    def run(*words):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng():
                app([*words, *CPU, "1"], standalone_mode=False)
        finally:
            torch.set_num_threads(threads)

    return run


@pytest.fixture(scope="session")
def both():
    """Return a function that runs command lines, one after the other, in two processes."""

    def run(*lines):
        worker = [sys.executable, str(Path(__file__).parent / "several_worker.py")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        done = subprocess.run(
            [*worker, json.dumps([[*words, *CPU, "2"] for words in lines])],
            env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory, alone, both):
    """Return a function that runs named command lines in one process and in two: the runs are one/NAME and two/NAME."""

    def run(lines):
        place = tmp_path_factory.mktemp("runs")
        one, two = (
            [[*words, "--folder", str(place / processes / name)] for name, words in lines.items()]
            for processes in ("one", "two")
        )
        for words in one:
            alone(*words)
        both(*two)
        return place

    return run
