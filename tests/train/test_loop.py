"""The loop's settings: precision, compilation, memory format, what is evaluated and kept."""

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import LimbeckError
from limbeck.targets import PSKD, CrossEntropy
from limbeck.train.record import read
from limbeck.train.runtime import Runtime


def test_bfloat16_trains_close_to_float32(train, weights):
    torch.testing.assert_close(
        weights(train(CrossEntropy(), precision="bf16-mixed")), weights(train(CrossEntropy())), rtol=0.1, atol=0.05
    )


def test_float16_needs_a_gpu_and_an_absent_accelerator_is_named():
    with pytest.raises(LimbeckError, match="16-mixed needs a GPU"):
        Runtime("cpu", 1, 1, "16-mixed")
    if not torch.cuda.is_available():
        with pytest.raises(LimbeckError, match="no CUDA GPU here"):
            Runtime("cuda", 1, 1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_student_trains_alike_and_its_weights_keep_their_names(tmp_path):
    """In processes of its own: the shape checks of the tests cannot be compiled."""
    found = []
    for compiled in ("false", "true"):
        settings = ["training.epochs=1", f"training.compile={compiled}", "--folder", str(tmp_path / compiled)]
        command = [sys.executable, "-m", "limbeck", "train", "digits/baseline", *settings]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found.append(load_file(tmp_path / compiled / "student.safetensors"))
    eager, compiled = found
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


def test_a_line_an_epoch_with_every_part_of_the_loss(train, tmp_path):
    train(PSKD(0.8), folder=tmp_path / "run")
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {"loss", "label", "past", "error", "lr"} <= lines[0].keys()
    assert lines[2]["loss"] > lines[2]["past"] > 0
    assert list((tmp_path / "run").glob("events.out.tfevents*"))
