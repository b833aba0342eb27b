"""Runs with matchers that are stopped anywhere end as if they had not been: adapters, splits, margins, coders, log."""

import pytest
import torch
from safetensors.torch import load_file

from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul, random_split
from limbeck.recipes.read import plan
from limbeck.targets import DML, CrossEntropy, Hinton
from limbeck.teachers.teacher import Teacher
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime

SPLIT = InheritExplore(FactorTransfer(20.0, coder="autoencoder", factors=3), split="random", split_seed=7)
BETWEEN = [
    InheritExplore(AttentionTransfer(20.0, between="peers")),
    InheritExplore(FactorTransfer(5.0, between="peers", coder="autoencoder", factors=3), split="random"),
]


@pytest.fixture
def teacher(tiny):
    _, network = tiny
    return Teacher(network(11, width=6, norm="batch"))


def everything(state):
    """Return all tensors of the objective and of its optimiser, in one vector."""
    momenta = [value["momentum_buffer"] for value in state.optimiser.state_dict()["state"].values()]
    kept = [value for value in state.objective.state_dict().values() if isinstance(value, torch.Tensor)]
    return torch.cat([tensor.flatten().double() for tensor in [*kept, *momenta]])


@pytest.mark.parametrize("stop_at", [1, 6, 9])
@pytest.mark.parametrize("extra", [{}, {"ema": 0.9, "accumulate": 2, "mix": True, "clip": 1.0}], ids=["", "more"])
def test_a_run_stopped_after_any_step_ends_with_the_same_bits(train, teacher, tmp_path, stopped, stop_at, extra):
    matchers = [SPLIT, FitNet(1.0), AttentionTransfer(20.0), Overhaul(0.01, margin="measured")]
    settings = {"matchers": matchers, "checkpoint_steps": 3, "teacher": teacher, **extra}
    whole = train(Hinton(0.7, 2.0), folder=tmp_path / "whole", **settings)
    with stopped(stop_at):
        train(Hinton(0.7, 2.0), folder=tmp_path / "cut", **settings)
    again = train(Hinton(0.7, 2.0), folder=tmp_path / "cut", **settings)
    assert torch.equal(everything(whole), everything(again))
    lines = read(tmp_path / "whole" / "metrics.jsonl")
    assert lines == read(tmp_path / "cut" / "metrics.jsonl")
    assert all("gradient share/factor/explore" in line for line in lines)


@pytest.mark.parametrize("stop_at", [2, 6, 9])
@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_students_that_match_each_other_go_on_alike(train, tmp_path, stopped, updates, stop_at):
    settings = {"matchers": BETWEEN, "checkpoint_steps": 3, "seeds": (3, 4)}
    method = DML(1.0, updates=updates)
    whole = train(method, folder=tmp_path / "whole", **settings)
    with stopped(stop_at):
        train(method, folder=tmp_path / "cut", **settings)
    again = train(method, folder=tmp_path / "cut", **settings)
    assert torch.equal(everything(whole), everything(again))
    assert read(tmp_path / "whole" / "metrics.jsonl") == read(tmp_path / "cut" / "metrics.jsonl")


def test_the_split_is_in_the_checkpoint(train, teacher, tmp_path):
    train(CrossEntropy(), teacher, matchers=[SPLIT], folder=tmp_path, epochs=1)
    newest = torch.load(max((tmp_path / "checkpoints").iterdir()), weights_only=True)["objective"]
    inherit, explore = random_split(32, 0.5, 7)
    assert torch.equal(newest["comparison.matchers.0.inherit_channels_0"], inherit)
    assert torch.equal(newest["comparison.matchers.0.explore_channels_0"], explore)
    # what was drawn otherwise is put right by the checkpoint
    other = InheritExplore(SPLIT.matcher, split="random", split_seed=8)
    again = train(CrossEntropy(), teacher, matchers=[other], folder=tmp_path, epochs=1)
    assert torch.equal(again.objective.comparison.matchers[0].inherit_channels_0, inherit)


RECIPE = {
    "data": {"source": "digits", "examples": 60, "validation": 0},
    "model": {"name": "cnn", "width": 4},
    "training": {"epochs": 2, "batch_size": 20, "checkpoint_steps": 1},
    "stages": {
        "teacher": {"model": {"name": "cnn", "width": 6}},
        "student": {
            "teacher": {"stage": "teacher"},
            "matchers": [
                {"name": "ie", "matcher": {"name": "ft", "coder": "autoencoder", "coder_epochs": 3, "weight": 20.0}},
                {"name": "ft", "coder_epochs": 2, "weight": 20.0},
                {"name": "od", "margin": "measured"},
            ],
        },
    },
}


def files_of(place):
    """Return the weights of all stages, and the lines of their logs, by the stage's name."""
    found = {}
    for folder in [place / "run", *sorted((place / "stages").iterdir())]:
        weights = {path.name: load_file(path) for path in folder.glob("*.safetensors")}
        found[folder.name] = (weights, read(folder / "metrics.jsonl"))
    return found


def test_a_stage_in_which_a_coder_learns_is_continued(tmp_path, stopped):
    """Six steps of the teacher, nine and six of two coders, six of the student."""

    def trained(place):
        with Display(silent=True) as display:
            plan(RECIPE, "here").run(tmp_path / place / "run", Runtime("cpu", 1, 1), display)

    trained("whole")
    for stop_at in (8, 5, 6, 4):
        with stopped(stop_at):
            trained("cut")
    trained("cut")
    whole, cut = files_of(tmp_path / "whole"), files_of(tmp_path / "cut")
    assert sorted(name.rpartition("-")[0] for name in whole) == ["", "autoencoder", "paraphraser", "teacher"]
    assert whole.keys() == cut.keys()
    for stage, (weights, lines) in whole.items():
        assert cut[stage][1] == lines, stage
        for name, tensors in weights.items():
            assert tensors.keys() == cut[stage][0][name].keys()
            assert all(torch.equal(tensors[key], cut[stage][0][name][key]) for key in tensors), (stage, name)
