"""Studies of tiny runs on the digits that come with scikit-learn."""

import pytest
import torch

from limbeck.studies.cells import expand
from limbeck.studies.here import Here
from limbeck.studies.make import make, prepare
from limbeck.studies.study import read_study
from limbeck.train.progress import Display

RECIPE = """
recipe:
  data: {source: digits, examples: 60, validation: 100}
  model: {name: cnn, width: 2}
  training: {epochs: 2, batch_size: 30}
"""
PAIR = """
cells:
  baseline: {method: cross_entropy}
  smooth: {method: label_smoothing}
seeds: 2
claims:
  - error(smooth) < error(baseline)
  - nll(smooth) > nll(baseline)
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes a study of tiny runs, into the folder from where it is read: s.yaml."""
    monkeypatch.chdir(tmp_path)

    def write(text=PAIR, name="s.yaml", recipe=RECIPE):
        (tmp_path / name).write_text(recipe + text)
        return name

    return write


@pytest.fixture
def cells(written):
    """Return a function that expands the cells of a study's text."""

    def expanded(text=PAIR, overrides=(), scale=None, recipe=RECIPE):
        return expand(read_study(written(text, recipe=recipe)).study, "s.yaml", overrides, scale)

    return expanded


@pytest.fixture
def made(written, tmp_path):
    """Return a function that makes a study in this process: made(text, folder) is its outcome."""

    def run(text=PAIR, folder="out", executor=None, recipe=RECIPE, publish=lambda outcome: None):
        threads = torch.get_num_threads()
        prepared = prepare(written(text, recipe=recipe), tmp_path / folder, [], None, "cpu", "limbeck study s.yaml")
        with Display(silent=True) as display:
            outcome = make(prepared, (lambda: executor) if executor else Here, display, publish)
        assert torch.get_num_threads() == threads
        return outcome

    return run
