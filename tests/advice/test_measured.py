"""What trial runs tell: times from events, and costs from times."""

import numpy as np
import pytest

from limbeck.advice import measure as measuring
from limbeck.advice.candidates import BASELINE
from limbeck.advice.measure import Bench, Timed, cost, measure, small, timed
from limbeck.advice.question import base_of
from limbeck.core import LimbeckError
from limbeck.data.split import stratified_split, stratified_subset
from limbeck.studies.here import Here
from limbeck.studies.orders import Event
from limbeck.train.progress import Display


def test_times_are_read_from_what_happens():
    events = [
        (3.0, Event("r", "stage", "copy")),
        (5.0, Event("r", "epoch", epoch=1)),
        (6.0, Event("r", "epoch", epoch=2)),
        (6.5, Event("r", "say", "something")),
        (7.0, Event("r", "stage", "r")),
        (9.0, Event("r", "epoch", epoch=1)),
        (12.0, Event("r", "epoch", epoch=2)),
        (12.5, Event("r", "done")),
    ]
    found = timed(1.0, events)
    assert found.epochs == {"copy": [2.0, 1.0], "r": [2.0, 3.0]}
    assert found.rest == pytest.approx(11.5 - 8.0)


def test_the_median_epoch_counts_and_a_coder_has_its_own_number_of_them():
    found = Timed({"copy": [9.0, 1.0, 0.5], "paraphraser": [2.0, 2.0, 2.0], "r": [9.0, 2.0, 3.0]}, 100.0)
    whole = cost(found, ratio=10.0, rest=0.5, evaluated=0.25)
    assert whole.epoch == pytest.approx(10 * (1 + 3))
    assert whole.once == pytest.approx(0.5 + 10 * 6 + 0.25 * 40)


def labels(**counts):
    return np.repeat(np.arange(len(counts)), list(counts.values()))


def test_a_part_of_large_data_is_ten_steps_and_of_small_data_all():
    assert small(labels(cat=5000, dog=5000), labels(cat=500, dog=500), 100) == (1000, 100, 10.0)
    assert small(labels(cat=50, dog=50), labels(cat=5, dog=5), 100) == (100, 10, 1.0)


def test_a_part_has_every_class_on_both_sides():
    examples, validation, ratio = small(labels(cat=9900, dog=100), labels(cat=990, dog=10), 3)
    assert ratio == pytest.approx(10_000 / examples)
    whole = labels(cat=10_890, dog=110)
    kept, away = stratified_split(whole, validation, 7)
    assert set(whole[away]) == set(whole[kept][stratified_subset(whole[kept], examples, 7)]) == {0, 1}
    half = examples // 2
    with pytest.raises(LimbeckError):
        stratified_split(whole, max(1, round(1000 * half / 10_000)), 7)


@pytest.fixture
def bench(tmp_path):
    with Display(silent=True) as display:
        yield Bench(tmp_path / "measuring", "cpu", lambda study: Here(), display)


def test_every_candidate_is_measured_and_nothing_looks_at_the_test_set(question, bench, tmp_path):
    asked = question(teacher="{name: cnn, width: 4}")
    names = [BASELINE, "tfkd_self", "kd_short", "dekd"]
    found = measure(asked, base_of(asked), names, bench)
    assert not found.failures
    assert list(found.costs) == names
    assert all(one.epoch > 0 and one.once >= 0 for one in found.costs.values())
    assert found.teachers.keys() == {"full", "short"}
    assert found.teachers["full"] > found.teachers["short"]
    for place in (tmp_path / "measuring").glob("*/runs/*/recipe.yaml"):
        assert "evaluate: validation" in place.read_text()


def test_a_student_that_cannot_read_the_images_is_refused(question, bench):
    asked = question(methods="pskd")
    asked.student = {"name": "torchvision:squeezenet1_1"}
    with pytest.raises(LimbeckError, match="the student cannot be trained: .*cannot read images of 1×8×8"):
        measure(asked, base_of(asked), [BASELINE, "pskd"], bench)


def test_a_candidate_that_fails_costs_itself_alone(question, bench, monkeypatch):
    real = measuring.contest

    def contest(*arguments, **named):
        study = real(*arguments, **named)
        study.cells["pskd"]["optimiser"] = {"lr": 1e30}
        return study

    monkeypatch.setattr(measuring, "contest", contest)
    asked = question(methods="pskd,label_smoothing")
    found = measure(asked, base_of(asked), [BASELINE, "label_smoothing", "pskd"], bench)
    assert list(found.costs) == [BASELINE, "label_smoothing"]
    assert "NaN or infinite" in found.failures["pskd"]
