"""Tournaments of tiny runs on the digits that come with scikit-learn, at costs that are known."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limbeck.advice import make as making
from limbeck.advice import planned as planning
from limbeck.advice.candidates import CANDIDATES
from limbeck.advice.make import advised, planned_for
from limbeck.advice.measure import Bench, Measured
from limbeck.advice.question import ask
from limbeck.advice.schedule import Cost
from limbeck.data.sources.digits import Digits
from limbeck.train.progress import Display

SMALL = ["data.examples=60", "data.validation=100", "training.batch_size=30"]
THREE = "label_smoothing,pskd,tfkd_reg"
TWINS = {"dml", "kdcl", "tfkd_self"}


def asked(*overrides, data="digits", teacher=None, budget="41s", methods=None, **changes):
    """Return a question about tiny runs."""
    wanted = {"epochs": 4, "seeds": 2, "by": "error", "methods": methods, "overrides": [*SMALL, *overrides]}
    return ask(data, "{name: cnn, width: 2}", teacher, budget, **(wanted | changes))


def stand_in(question, base, names, bench):
    """Measure nothing: an epoch takes a second, or two with a twin or a copy."""
    costs = {name: Cost(2.0 if name in TWINS else 1.0, 1.0) for name in names}
    return Measured(costs, {"full": 5.0, "short": 2.0} if isinstance(question.teacher, dict) else {}, {})


def hold(folder, *overrides, **changes):
    """Plan and hold a tournament, at whose clock no time passes: its advice."""
    with Display(silent=True) as display, pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "Bench", functools.partial(Bench, clock=lambda: 0.0))
        planned = planned_for(asked(*overrides, **changes), folder, "cpu", 1, display)
        return advised(planned, folder, "cpu", 1, "limbeck advise …", display)


@pytest.fixture
def question():
    """Return a function that makes a question about tiny runs."""
    return asked


@pytest.fixture
def known_costs(monkeypatch, tmp_path):
    """Nothing is measured."""
    monkeypatch.setattr(planning, "measure", stand_in)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def held(known_costs, tmp_path):
    """Return a function that plans and holds a tournament: its advice."""
    return lambda *overrides, folder="out", **changes: hold(tmp_path / folder, *overrides, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tournament of three challengers that is over: its folder, and when test images were asked for.

    Of each time it is noted whether the final had been written down by then.
    """
    folder = tmp_path_factory.mktemp("tournament") / "out"
    asked_for = []
    real = Digits.load

    def load(self):
        raw = real(self)

        class Watched:
            labels = raw.test.labels

            def examples(self, members, setting):
                asked_for.append((folder / "final.yaml").exists())
                return raw.test.examples(members, setting)

        return raw._replace(test=Watched())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "measure", stand_in)
        patch.setattr(Digits, "load", load)
        hold(folder, methods=THREE)
    return folder, asked_for


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    """A copy of that tournament, to be changed: its folder."""
    monkeypatch.setattr(planning, "measure", lambda *arguments: pytest.fail("measured again"))
    return Path(shutil.copytree(finished[0], tmp_path / "out"))


@pytest.fixture
def photos(tmp_path):
    """Return a function that makes a folder of small images, so many of each class."""

    def make(**counts):
        generator = np.random.default_rng(0)
        for part in ("train", "test"):
            for label, count in counts.items():
                folder = tmp_path / "photos" / part / label
                folder.mkdir(parents=True)
                for i in range(count):
                    pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")
        return tmp_path / "photos"

    return make


@pytest.fixture
def taught():
    """The candidates that need a teacher."""
    return [name for name, one in CANDIDATES.items() if one.teacher is not None]
