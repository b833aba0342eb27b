"""Searches of tiny runs on the digits that come with scikit-learn."""

import pytest
import torch

from limbeck.train.progress import Display
from limbeck.tuning.make import Outcome, make, suggested
from limbeck.tuning.record import Trial
from limbeck.tuning.results import write_results
from limbeck.tuning.search import prepare

TABLE = """
data: {source: digits, examples: 60, validation: 100}
model: {name: cnn, width: 2}
optimiser: {name: sgd, lr: 0.1}
training: {epochs: 2, batch_size: 30}
rows:
  baseline: {method: cross_entropy}
  smooth: {method: label_smoothing}
  pskd: {method: pskd}
  kd:
    method: kd
    stages: {teacher: {model: {name: cnn, width: 4}, method: cross_entropy}, student: {teacher: {stage: teacher}}}
  at:
    matchers: [at]
    stages: {teacher: {model: {name: cnn, width: 4}, matchers: []}, student: {teacher: {stage: teacher}}}
  again: {method: tfkd_self, generations: 3, seed: 5}
  dml: {method: dml, peers: [{name: cnn, width: 4}]}
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write the recipes, t.yaml, into the folder from where they are read; return a function that names rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(TABLE)
    return lambda *rows: [f"t.yaml/{row}" for row in rows]


@pytest.fixture
def prepared(table, tmp_path):
    """Return a function that prepares a search: prepared("kd smooth", "method.alpha=0.1..0.9", trials=3)."""

    def asked(rows, *settings, trials=3, folder="out", by="error", jobs=1):
        return prepare(
            table(*rows.split()),
            settings,
            trials=trials,
            by=by,
            folder=tmp_path / folder,
            jobs=jobs,
            threads=1,
            accelerator="cpu",
            command="limbeck tune t.yaml",
        )

    return asked


@pytest.fixture
def told(prepared):
    """Return a function that writes what a search leaves behind whose later trials are the better ones; none runs."""

    def run(*asked, trials=2, **named):
        found = prepared(*asked, trials=trials, **named)
        there = {search.label: [] for search in found.searches}
        for search in found.searches:
            for number in range(1, trials + 1):
                if (values := suggested(search, there[search.label])) is not None:
                    there[search.label].append(Trial(number, values, 0.5 - 0.1 * number))
        outcome = Outcome(found, there)
        write_results(outcome)
        return outcome

    return run


@pytest.fixture
def searched(prepared):
    """Return a function that makes a search in this process, with the arguments of `prepared`."""

    def run(*asked, **named):
        threads = torch.get_num_threads()
        with Display(silent=True) as display:
            outcome = make(prepared(*asked, **named), display)
        assert torch.get_num_threads() == threads
        write_results(outcome)
        return outcome

    return run
