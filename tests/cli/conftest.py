"""The command line, run in this process, in an empty folder."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from limbeck.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def limbeck(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command line and returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return Ran(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def refused(limbeck):
    """Return a function that runs a command line which must be refused, and returns the one line that says why."""

    def run(*arguments, after=0):
        ran = limbeck(*arguments)
        lines = ran.err.splitlines()
        assert ran.code == 2, ran
        assert lines[-1].startswith("limbeck: "), ran
        assert "Traceback" not in ran.err
        assert len(lines) <= 1 + after, f"more than one line: {ran.err}"
        return lines[-1].removeprefix("limbeck: ")

    return run


@pytest.fixture
def done(limbeck):
    """Return a function that runs a command line which must succeed."""

    def run(*arguments):
        ran = limbeck(*arguments)
        assert ran.code == 0, ran
        return ran

    return run


@pytest.fixture
def small():
    """Overrides that make a shipped digits recipe small."""
    few = ("data.examples=60", "data.validation=100", "training.batch_size=30", "training.epochs=2")
    return (*few, "schedule.warmup=0", "model.width=2")


@pytest.fixture
def tiny(done, small):
    """Return a function that trains a shipped digits recipe for two epochs on 60 images."""

    def run(recipe, *arguments):
        return done("train", recipe, *small, *arguments)

    return run


@pytest.fixture
def images(tmp_path):
    """Return a function that makes a folder of small images: images("pets", "cat", "dog")."""

    def make(name, *classes, count=6, parts=("train", "test")):
        generator = np.random.default_rng(0)
        for part in parts:
            for label in classes:
                folder = tmp_path / name / part / label
                folder.mkdir(parents=True)
                for i in range(count):
                    pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")
        return tmp_path / name

    return make


@pytest.fixture
def recipe(tmp_path):
    """Return a function that writes a recipe for a folder of images."""

    def write(root, name="pets.yaml"):
        Path(tmp_path / name).write_text(
            f"data: {{source: {{name: image_folder, root: {root}, size: 8}}, validation: 0.2, workers: 0}}\n"
            "model: {name: cnn, width: 2}\n"
            "training: {epochs: 1, batch_size: 4}\n"
        )
        return name

    return write
