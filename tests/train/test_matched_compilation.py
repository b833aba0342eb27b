"""A compiled student is heard as one that is not: the same weights, the same shares of the gradient in the log."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from limbeck.recipes.read import read_recipe
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

RECIPE = [
    "model.width=4",
    "stages.teacher.model.width=6",
    "training.epochs=2",
    "training.batch_size=30",
    "data.examples=60",
    "data.validation=0",
    "optimiser.lr=0.02",
    "stages.student.matchers=[{name: at, weight: 20.0}, {name: fitnet, weight: 1.0}]",
]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_student_is_heard_alike(tmp_path):
    """The compiled one in a process of its own: the shape checks of the tests cannot be compiled."""
    with Display(silent=True) as display:
        read_recipe("digits/kd", RECIPE).run(tmp_path / "eager" / "run", Runtime("cpu", 1, 1), display)
    command = [*RECIPE, "stages.student.training.compile=true", "--accelerator", "cpu", "--folder"]
    done = subprocess.run(
        [sys.executable, "-m", "limbeck", "train", "digits/kd", *command, str(tmp_path / "compiled" / "run")],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = []
    for folder in (tmp_path / "eager" / "run", tmp_path / "compiled" / "run"):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        found.append((load_file(folder / "student.safetensors"), lines))
    (eager, logged), (compiled, also) = found
    assert eager.keys() == compiled.keys()
    for name, tensor in eager.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-3, atol=1e-4)
    for one, other in zip(logged, also, strict=True):
        assert other == pytest.approx(one, rel=1e-3)
        assert 0 < one["gradient share/attention"] < 1
