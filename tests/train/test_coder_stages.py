"""Coders that learn before the student: how they begin, what they are known by, what they leave alone."""

import copy
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from limbeck.core import LimbeckError
from limbeck.core.matcher import Explorable, Pair
from limbeck.errors import NonFiniteLossError
from limbeck.recipes.read import plan
from limbeck.targets import CrossEntropy
from limbeck.teachers.teacher import Teacher
from limbeck.train import coders
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime

FT = {"name": "ft", "coder": "autoencoder", "factors": 16, "coder_epochs": 3, "weight": 5.0}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The folder of a run that teaches."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    trained(folder, {}, model={"name": "cnn", "width": 8})
    return folder


def trained(folder, changed, **stage):
    tree = {
        "data": {"source": "digits", "examples": 60, "validation": 0},
        "model": {"name": "cnn", "width": 4},
        "training": {"epochs": 1, "batch_size": 20},
        **stage,
        **changed,
    }
    with Display(silent=True) as display:
        return plan(tree, "here").run(folder, Runtime("cpu", 1, 1), display)


@pytest.fixture
def run(tmp_path, teacher):
    """Return a function that trains a student beside matchers in a folder of that name, and returns its folder."""

    def one(name, *matchers, **changed):
        trained(tmp_path / name, {"teacher": {"run": str(teacher)}, "matchers": list(matchers), **changed})
        return tmp_path / name

    return one


@pytest.fixture
def begun(monkeypatch):
    """The coders as they are when their stages begin."""
    found, fit = [], coders.fit

    def noted(objective, *arguments, **named):
        found.append(copy.deepcopy(objective.cohort.alone(0)))
        return fit(objective, *arguments, **named)

    monkeypatch.setattr(coders, "fit", noted)
    return found


def test_an_auto_encoder_begins_as_its_authors(run, begun):
    run("run", FT)
    (coder,) = begun
    for conv in (module for module in coder.modules() if isinstance(module, nn.Conv2d)):
        wanted = math.sqrt(2 / (9 * conv.out_channels))
        assert float(conv.weight.detach().std()) == pytest.approx(wanted, rel=0.1)


def test_matchers_that_want_the_same_share_a_coder_which_the_seed_makes(run, begun, tmp_path):
    run("run", FT, {"name": "ie", "matcher": FT}, {"name": "ft", "coder_epochs": 1})
    assert len(begun) == 2
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "stages").iterdir()) == [
        "autoencoder",
        "paraphraser",
    ]
    run("again", FT)
    assert len(begun) == 2
    run("other", FT, seed=1)
    assert len(begun) == 3
    assert not torch.equal(begun[0].encoder[1].weight, begun[2].encoder[1].weight)


def test_features_by_batch_statistics_are_learned_by_a_coder_of_their_own(run, begun):
    run("usual", FT)
    run("other", FT, {"name": "od", "batch_statistics": True})
    assert len(begun) == 2


def test_a_coder_learns_and_says_how_well(run, tmp_path):
    run("run", FT)
    (place,) = (tmp_path / "stages").iterdir()
    errors = [line["rebuilding"] for line in read(place / "metrics.jsonl")]
    assert len(errors) == 3
    assert errors[2] < errors[0]
    assert json.loads((place / "results.json").read_text()) == {"epochs": 3, "rebuilding": errors[-1]}


def test_a_coder_and_a_survey_move_nothing_of_the_student(run):
    plain = load_file(run("plain", {"name": "at", "weight": 0.0}) / "student.safetensors")
    silent = [FT | {"weight": 0.0}, {"name": "od", "weight": 0.0, "margin": "measured"}]
    coded = load_file(run("coded", *silent) / "student.safetensors")
    assert all(torch.equal(plain[name], coded[name]) for name in plain)


def test_what_matchers_have_trained_is_kept_beside_the_student(run):
    folder = run("run", FT, {"name": "ie", "matcher": {"name": "at"}, "split": "random", "split_seed": 2})
    kept, student = load_file(folder / "matchers.safetensors"), load_file(folder / "student.safetensors")
    assert kept["matchers.1.inherit_channels_2"].shape == kept["matchers.1.explore_channels_2"].shape == (8,)
    assert any(name.startswith("matchers.0.translator.") for name in kept)
    assert not any("matchers" in name or "coder" in name for name in student)


def test_a_damaged_coder_is_one_line(run, tmp_path):
    run("run", FT)
    (place,) = (tmp_path / "stages").iterdir()
    weights = place / "coder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(LimbeckError, match=r"coder\.safetensors") as told:
        run("again", FT)
    assert "\n" not in str(told.value)


class Bad(Explorable):
    """Its distance is 0, and the gradient of what it trains is not a number."""

    between, weight, term = "teacher", 1.0, "bad"

    def choose(self, student, teacher):
        return [Pair(student["stem"], teacher["stem"])]

    def prepare(self, pairs):
        self.scale = nn.Parameter(torch.ones(()))

    def gap(self, student, teacher):
        return (self.scale - 1).square().sqrt() + 0 * student[0].sum()

    def exploration(self, student, teacher):
        return -self.gap(student, teacher)


def test_no_checkpoint_holds_a_matchers_weight_that_is_not_a_number(train, tiny, tmp_path):
    _, network = tiny
    with pytest.raises(NonFiniteLossError, match=r"the weight matchers\.0\.scale is NaN or infinite after step 1"):
        train(CrossEntropy(), Teacher(network(4)), matchers=[Bad()], folder=tmp_path, checkpoint_steps=1)
    assert not list((tmp_path / "checkpoints").glob("*.pt"))


def test_a_run_whose_beginning_is_made_up_finds_its_coder_and_leaves_nothing(run, begun, tmp_path):
    run("run", FT, training={"epochs": 4, "batch_size": 20})
    folder = run("run", FT, training={"epochs": 4, "batch_size": 20, "keep_epochs": [2]})
    assert len(begun) == 1
    assert (folder / "student-epoch-2.safetensors").exists()
    assert not (folder / "stages").exists()


def test_marks_beyond_a_coder_s_epochs_are_the_run_s_own(run):
    folder = run("run", FT, training={"epochs": 5, "batch_size": 20, "keep_epochs": [5]})
    assert (folder / "student-epoch-5.safetensors").exists()
