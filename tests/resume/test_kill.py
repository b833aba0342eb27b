"""kill -9 at random moments, the same command again: bit-identical weights.

Two kills here; LIMBECK_KILLS=10 makes it ten.
"""

import os
import random
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "limbeck", "train", "digits/pskd", "training.checkpoint_steps=2"]
# an epoch with files takes longer
EPOCHS = {"device": 40, "disk": 20}
KILLS = int(os.environ.get("LIMBECK_KILLS", "2"))


def started(folder, bank):
    return subprocess.Popen(
        [*COMMAND, f"training.epochs={EPOCHS[bank]}", f"method.bank={bank}", "--folder", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def training_begins(run, folder):
    """Wait until a run writes its next checkpoint, so that the kill falls into training and not into the start."""
    before = set((folder / "checkpoints").glob("*.pt"))
    while set((folder / "checkpoints").glob("*.pt")) == before and not (folder / "results.json").exists():
        time.sleep(0.005)
        if run.poll() not in (None, 0):
            pytest.fail(run.communicate()[1].decode())


@pytest.mark.parametrize("bank", ["device", "disk"])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path, bank):
    whole = started(tmp_path / "whole", bank)
    whole.communicate(timeout=200)
    assert whole.returncode == 0

    moments = random.Random(20)
    killed = 0
    for _ in range(KILLS):
        run = started(tmp_path / "cut", bank)
        training_begins(run, tmp_path / "cut")
        time.sleep(moments.uniform(0, 0.25))
        killed += run.poll() is None
        run.kill()
        run.communicate()
    assert killed == KILLS, "the run ended before it could be killed: make it longer"

    last = started(tmp_path / "cut", bank)
    _, said = last.communicate(timeout=200)
    assert last.returncode == 0, said
    for name in ("student.safetensors", "student-best.safetensors", "metrics.jsonl"):
        whole_file, cut_file = ((tmp_path / run / name).read_bytes() for run in ("whole", "cut"))
        assert whole_file == cut_file, name
