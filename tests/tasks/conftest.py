"""A toy language: numbers as words, which translate word by word."""

import random
import sys

import pytest

from limbeck.cli import main

GERMAN = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write_text(folder, train=60, test=6):
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(0)
    for split, count in {"train": train, "valid": test, "test": test}.items():
        rows = [[chance.randrange(10) for _ in range(chance.randint(1, 7))] for _ in range(count)]
        for language, words in {"de": GERMAN, "en": ENGLISH}.items():
            lines = [" ".join(words[one] for one in row) + "." for row in rows]
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture
def text(tmp_path):
    """The folder of the toy language's files."""
    return write_text(tmp_path / "text")


@pytest.fixture
def recipe(text):
    """A recipe of translation that trains in seconds."""
    return {
        "task": {"name": "translation", "beams": 2},
        "data": {
            "source": {"name": "text", "root": str(text), "source": "de", "target": "en"},
            "tokenizer": {"vocabulary": 300},
            "longest": 32,
        },
        "model": {"name": "transformer", "width": 16, "heads": 2, "layers": 1, "inner": 16, "dropout": 0.0},
        "optimiser": {"name": "adamw", "lr": 0.01, "weight_decay": 0.0},
        "training": {"epochs": 2, "batch_size": 120},
    }


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that runs a command line and returns its exit code and all that it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    return run
