"""A run of ONE: what it leaves behind, that it resumes to the same bits, and settings that cannot be."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.plain import predictions_file
from limbeck.recipes import read_recipe
from limbeck.recipes.read import plan
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime

SETTINGS = ["model=resnet8", "method={name: one, branches: 2}", "data.examples=120", "data.validation=40"]
NAMES = ["student-0", "student-1", "ensemble"]


def run(folder, *overrides):
    settings = [*SETTINGS, "training.batch_size=40", "training.epochs=3", *overrides]
    with Display(silent=True) as display:
        return read_recipe("digits/baseline", settings).run(folder, Runtime("cpu", 1, 1), display)


@pytest.mark.parametrize("extra", [[], ["training.ema=0.9", "training.precision=bf16-mixed", "training.clip=1.0"]])
def test_a_run_leaves_every_branch_and_the_ensemble(tmp_path, extra):
    found = run(tmp_path / "run", *extra)
    assert list(found["students"]) == NAMES
    one = build_model(ModelSpec("resnet8"), 10, 1).eval()
    size = sum(weight.numel() for weight in one.parameters())
    assert found["parameters"]["student-0"] == found["parameters"]["student-1"] == size
    assert size < found["parameters"]["ensemble"] < 2 * size
    test = read_recipe("digits/baseline", SETTINGS).student.data.load("cpu").test
    images = torch.cat([one_batch.views[0] for one_batch in test.in_order(500)])
    for i in range(2):
        one.load_state_dict(load_file(tmp_path / "run" / f"student-{i}.safetensors"))
        with np.load(tmp_path / "run" / predictions_file(f"student-{i}")) as arrays:
            said = arrays["logits"]
        with torch.no_grad():
            np.testing.assert_allclose(one(images).numpy(), said, rtol=1e-3, atol=1e-4)
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert {"label/0", "ensemble/1", "label/2", "validation/2/error"} <= lines[0].keys()
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == found
    # found again when done
    assert run(tmp_path / "run", *extra) == found


@pytest.mark.parametrize("stop_at", [2, 5])
@pytest.mark.parametrize("extra", [[], ["training.ema=0.9", "training.accumulate=2"]])
def test_a_stopped_run_ends_with_the_same_bits(tmp_path, stopped, stop_at, extra):
    settings = ["training.checkpoint_steps=1", *extra]
    whole = run(tmp_path / "whole", *settings)
    with stopped(stop_at):
        run(tmp_path / "cut", *settings)
    assert run(tmp_path / "cut", *settings)["students"] == whole["students"]
    for name in NAMES:
        one, other = (load_file(tmp_path / kind / f"{name}.safetensors") for kind in ("whole", "cut"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert read(tmp_path / "whole" / "metrics.jsonl") == read(tmp_path / "cut" / "metrics.jsonl")


def test_a_branch_teaches_another_network(tmp_path):
    run(tmp_path / "one")
    taught = ["model={name: cnn, width: 4}", "method=kd", f"teacher.weights={tmp_path}/one/student-1.safetensors"]
    assert run(tmp_path / "two", *taught)["students"].keys() == {"student"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["method.split=layer4"], "the network has no layer 'layer4'; did you mean 'layer"),
        (["method.split=stem"], "no layer with weights has finished when 'stem' begins"),
        (["method.branches=1"], "method.branches"),
        (["peers=[cnn]"], "ONE makes its own students of one network: leave peers out"),
        (["training.trace=true"], "training.trace follows one student"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, reason):
    with pytest.raises(LimbeckError, match=reason) as refused:
        run(tmp_path / "run", *settings)
    assert "\n" not in str(refused.value)


def test_the_ramp_shrinks_with_the_epochs():
    tree = {"data": {"source": "cifar100"}, "model": "resnet32", "method": "one", "training": {"epochs": 300}}
    method = plan({**tree, "scale": "small"}, "here").student.method
    assert (method.weight.value, method.weight.epochs) == (1.0, 16)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_branches_train_alike(tmp_path):
    """In processes of its own: the shape checks of the tests cannot be compiled."""
    found = []
    for compiled in ("false", "true"):
        settings = [*SETTINGS, "training.epochs=1", "training.batch_size=40", "optimiser.lr=0.01"]
        command = [sys.executable, "-m", "limbeck", "train", "digits/baseline", *settings]
        command += [f"training.compile={compiled}", "--folder", str(tmp_path / compiled), "--accelerator", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=580)
        assert done.returncode == 0, done.stderr
        found.append(load_file(tmp_path / compiled / "ensemble.safetensors"))
    eager, compiled = found
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
