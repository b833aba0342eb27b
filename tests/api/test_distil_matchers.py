"""Matchers by `limbeck.distil`: on networks of the reader's own, with mistakes of the reader's own."""

import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import limbeck
from limbeck.core.config import configurable_module
from limbeck.core.matcher import Explorable, Pair
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, Overhaul
from limbeck.train import loop


class Stripes(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.zeros(1, 8, 8)
        image[:, index % 3 :: 3] = 1.0
        return image + 0.3 * torch.randn(1, 8, 8), index % 3


def network(width=4, seed=0, inplace=False):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 3),
    )


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.relu, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.relu(self.two(self.relu(self.one(images)))).mean((2, 3)))


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))


def distil(student=None, **changed):
    settings = {"epochs": 1, "batch_size": 20, "validation": 0, "progress": False, "accelerator": "cpu"}
    settings |= {"method": "cross_entropy", "teacher": network(6, 1)} | changed
    return limbeck.distil(student or network(), Stripes(60), Stripes(30), **settings)


@configurable_module
class OfTheMean(Explorable):
    """A matcher of the reader's own."""

    weight: float = 1.0
    between: str = "teacher"

    term = "mean"

    def choose(self, student, teacher):
        return [Pair(student["2"], teacher["2"])]

    def prepare(self, pairs):
        pass

    def gap(self, student, teacher):
        return (student[0].mean() - teacher[0].mean()).square()

    def exploration(self, student, teacher):
        return -self.gap(student, teacher)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_network_of_ones_own_is_taught_by_several_and_is_given_back_as_it_was(tmp_path, monkeypatch, inplace):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    matchers = ["at", {"name": "ft", "coder_epochs": 1, "weight": 5.0}, Overhaul(batch_statistics=True), OfTheMean()]
    teacher, student = network(6, 1, inplace), network(4, 0, inplace)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    result = distil(student, teacher=teacher, matchers=matchers)
    assert result.student is student
    assert student.state_dict().keys() == network().state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(module.training for module in teacher.modules())
    assert all(norm.track_running_stats for norm in teacher if isinstance(norm, nn.BatchNorm2d))
    assert not any(module._forward_hooks for module in [*teacher.modules(), *student.modules()])
    # the coder's stage goes with the run, of which nothing was to be kept
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_kept_keeps_its_coder_for_the_next_one(tmp_path):
    matched = {"matchers": [{"name": "ft", "coder_epochs": 1}]}
    first = distil(**matched, folder=tmp_path / "one")
    (coder,) = (tmp_path / "stages").iterdir()
    written = (coder / "coder.safetensors").stat().st_mtime_ns
    again = distil(**matched, folder=tmp_path / "two")
    assert first.last == again.last
    assert (coder / "coder.safetensors").stat().st_mtime_ns == written
    assert distil(**matched, folder=tmp_path / "one").last == first.last
    with pytest.raises(limbeck.LimbeckError, match="holds another run"):
        distil(matchers=[{"name": "ft", "coder_epochs": 1, "weight": 1.0}], folder=tmp_path / "one")


def test_an_error_in_training_leaves_the_teacher_as_it_was(monkeypatch):
    class Broken(Exception):
        pass

    def broken(*_):
        raise Broken

    teacher = network(6, 1)
    monkeypatch.setattr(loop, "rate_at", broken)
    with pytest.raises(Broken):
        distil(teacher=teacher, matchers=[Overhaul(batch_statistics=True)])
    norms = [module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.track_running_stats and not norm.training for norm in norms)
    assert not any(module._forward_hooks for module in teacher.modules())


def test_the_same_object_serves_twice():
    matcher = FitNet(1.0)
    assert distil(matchers=[matcher]).last == distil(matchers=[matcher]).last
    assert not list(matcher.parameters())


def test_peers_are_compared_with_a_teacher_too():
    result = distil(peers=[network(5, 3)], method="dml", matchers=["at", {"name": "fitnet", "between": "peers"}])
    assert result.ensemble is not None


STUDENT = network()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"matchers": "at"}, r'matchers is a list, such as \["at"\]'),
        ({"matchers": ["att"]}, "unknown name 'att'; did you mean 'at'"),
        ({"matchers": [{"name": "at", "wieght": 1.0}]}, "unknown key 'wieght' in matchers.0; did you mean 'weight'"),
        ({"matchers": ["at"], "teacher": None}, "a matcher needs a teacher: give teacher="),
        ({"matchers": [{"name": "at", "between": "peers"}]}, "neither does a matcher: leave teacher= out"),
        ({"matchers": [{"name": "at", "between": "peers"}], "teacher": None}, "needs at least two students: set peers"),
        (
            {"matchers": ["at"], "cache": "answers", "view_seed": 0, "cycle": 1},
            "cache keeps a teacher's answers, and matchers look at its layers",
        ),
        ({"matchers": ["at"], "teacher": flat()}, r"the teacher's layers \(none that fits\) do not pair"),
        ({"matchers": ["ft"], "student": flat()}, r"the student's layers \(none that fits\)"),
        ({"matchers": [AttentionTransfer(layers=("8",))]}, "layer '8' of the student puts out 3 numbers for an image"),
        ({"matchers": [AttentionTransfer(layers=("22",))]}, "the student has no layer '22'"),
        ({"matchers": [FitNet(layer="relu")], "student": Reused()}, "layer 'relu' of the student runs 2 times in a"),
        ({"matchers": ["od"], "teacher": Reused()}, "and there is none: set margin to measured"),
        ({"matchers": [Overhaul(stages=(1.0,))]}, "stages gives 1 weights to 2 layers"),
        ({"matchers": [FactorTransfer(rate=0.0)]}, "a rate of 0.0 leaves no factor of 12 channels"),
        (
            {"matchers": [{"name": "ie", "matcher": "at"}], "student": network(1)},
            "a layer of one channel cannot be split",
        ),
        ({"matchers": ["at"], "student": STUDENT, "teacher": STUDENT}, "the teacher shares weights with a student"),
        ({"matchers": ["at"], "method": "one"}, "ONE makes its students of a network by name"),
    ],
)
def test_wrong_matchers_get_one_clear_line(tmp_path, monkeypatch, changed, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(limbeck.LimbeckError, match=message) as caught:
        distil(**changed)
    assert "\n" not in str(caught.value)
    assert not list(Path.cwd().iterdir())
