"""What several test folders need: tiny data, a tiny network without batch statistics, one training run."""

import contextlib
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40)}


def write_voc(root, train=8, test=4, sizes=((64, 64),)):
    """Write pictures with a coloured rectangle in each half, in the layout of VOC; one has none."""
    chance = random.Random(0)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, count in {"train": train, "test": test}.items():
        names = [f"{split}{number}" for number in range(count)]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for number, name in enumerate(names):
            height, width = sizes[number % len(sizes)]
            pixels = np.full((height, width, 3), 128, np.uint8)
            things = ""
            for half, colour in enumerate(chance.sample(sorted(COLOURS), 2) if name != "train1" else ()):
                left, top = half * width // 2 + chance.randrange(width // 8), chance.randrange(height // 4)
                right, bottom = left + width // 4 + chance.randrange(width // 8), top + height // 2
                pixels[top:bottom, left:right] = COLOURS[colour]
                frame = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
                told = "".join(f"<{side}>{value}</{side}>" for side, value in frame.items())
                things += f"<object><name>{colour}</name><bndbox>{told}</bndbox></object>"
            Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.png")
            size = f"<size><width>{width}</width><height>{height}</height></size>"
            (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{things}</annotation>")
    return root


@pytest.fixture(scope="session")
def voc(tmp_path_factory):
    """Return a function that writes pictures with boxes once and says where: voc(train=8, test=4)."""
    written = {}

    def folder(**how):
        key = repr(how)
        if key not in written:
            written[key] = write_voc(tmp_path_factory.mktemp("voc"), **how)
        return written[key]

    return folder


@pytest.fixture(scope="session")
def detection(voc):
    """Return a function that gives a recipe of detection which trains in seconds, by name of the detector."""
    options = {
        "faster_rcnn": {"width": 8, "head": 16, "boxes": 16},
        "ssdlite": {"maps": 4},
        "retinanet": {"width": 32},
    }

    def recipe(kind="faster_rcnn", **fields):
        model = {"name": kind, "backbone": {"name": "cnn", "width": 4}, "stages": 2, "frozen": True} | options[kind]
        return {
            "task": "detection",
            "data": {
                "source": {"name": "voc", "root": str(voc()), "train": "train", "test": "test"},
                "shorter": 64,
                "square": True,
                "workers": 0,
            },
            "model": model,
            "optimiser": {"name": "sgd", "lr": 0.01, "weight_decay": 0.0},
            "training": {"epochs": 2, "batch_size": 4},
        } | fields

    return recipe


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
