"""What several test folders need: tiny data, a tiny network without batch statistics, one training run."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.core import Objective, Room
from limbeck.data.examples import Members
from limbeck.data.mixing import Mixup
from limbeck.data.resident import ResidentExamples
from limbeck.data.views import Flip, PadCrop
from limbeck.models import ModelSpec, build_model
from limbeck.tasks import Classification
from limbeck.train import loop
from limbeck.train.loop import Training, fit
from limbeck.train.optimisers import SGD
from limbeck.train.progress import Display
from limbeck.train.rates import Cosine
from limbeck.train.runtime import Runtime

EXAMPLES, CLASSES = 61, 4


def examples(mix=None, views=(PadCrop(1), Flip()), device="cpu"):
    generator = torch.Generator().manual_seed(7)
    labels = np.arange(EXAMPLES) % CLASSES
    pixels = torch.randint(0, 200, (EXAMPLES, 1, 8, 8), generator=generator, dtype=torch.uint8)
    pixels[:, 0, 0] += torch.from_numpy(labels * 10).to(torch.uint8)[:, None]
    members = Members(np.arange(EXAMPLES), labels, EXAMPLES, tuple("abcd"))
    return ResidentExamples(pixels, members, mean=(0.4,), std=(0.3,), views=views, mix=mix, device=device)


def network(seed=3, **options):
    torch.manual_seed(seed)
    return build_model(ModelSpec("cnn", {"norm": "none"} | options), CLASSES, 1)


@pytest.fixture
def tiny():
    """Return the functions that make the tiny data and the tiny network."""
    return examples, network


@pytest.fixture
def train(tmp_path):
    """Return a function that trains tiny networks, one of seed 3 if not told, by a method and returns its state.

    On a GPU (`device`), data and networks are there; the teacher is the caller's.
    """
    runs = iter(range(100))

    def one(
        method,
        teacher=None,
        mix=None,
        folder=None,
        seeds=(3,),
        matchers=(),
        change=None,
        lr=0.1,
        device="cpu",
        **training,
    ):
        place = folder or tmp_path / str(next(runs))
        settings = {"epochs": 3, "batch_size": 16} | training
        runtime = Runtime(device, 1, 1, settings.get("precision", "32-true"))
        cohort = method.cohort([network(seed).to(runtime.device) for seed in seeds])
        if change is not None:
            change(cohort)
        room = Room(EXAMPLES, folder=place)
        objective = Objective(cohort, method, Classification(), teacher, room, matchers, (1, 8, 8), 5)
        for link in objective.comparison.links if matchers else ():
            torch.manual_seed(9)
            if (coding := link.matcher.coding()) is not None:
                link.matcher.take(coding.coder.encoder.to(runtime.device))
            if link.matcher.surveys:
                link.matcher.settle(link.matcher.survey([torch.randn(4, *pair.teacher.shape) for pair in link.pairs]))
        with Display(silent=True) as display:
            return fit(
                objective,
                examples(Mixup(1.0) if mix else None, device=runtime.device),
                None,
                optimisers=[SGD(lr)] * len(cohort.parts),
                rate=Cosine(),
                training=Training(**settings),
                seed=5,
                runtime=runtime,
                display=display,
                folder=place,
            )

    return one


class Stopped(Exception):
    """Training ends here, as if it had been killed."""


@pytest.fixture
def stopped(monkeypatch):
    """Return a context in which a training is stopped after so many optimiser steps: `with stopped(4): train(...)`."""

    @contextlib.contextmanager
    def after(steps):
        real, calls = loop.rate_at, []

        def stopping(*arguments):
            calls.append(1)
            if len(calls) > steps:
                raise Stopped
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "rate_at", stopping)
            with pytest.raises(Stopped):
                yield

    return after


@pytest.fixture
def weights():
    """Return a function that lays all weights of a state in one vector."""

    def flat(state):
        return torch.cat([p.detach().flatten() for p in state.cohort.parameters()])

    return flat


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data, or a skip where it is not there."""
    place = Path(os.environ.get("LIMBECK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (place / "unpack.py").exists():
        pytest.skip("the real data sets are not here: set LIMBECK_TEST_DATA to their folder")
    return place
