"""The trace of the gradient: what it logs, that it changes nothing, and that stopping leaves no mark on it."""

import pytest
import torch

from limbeck.analysis.rescaling import rescaling
from limbeck.core import LimbeckError, Objective, Peers
from limbeck.core.batch import Batch, Clock, Units
from limbeck.core.imitation import Target
from limbeck.core.writer import Step
from limbeck.targets import PSKD, CrossEntropy, LabelSmoothing
from limbeck.tasks import Classification
from limbeck.train.record import read
from limbeck.train.runtime import Runtime
from limbeck.train.trace import Trace

KEYS = ("p_true", "ratio", "formula", "holds")


def traced(lines):
    return [{key: value for key, value in line.items() if key.startswith("rescaling/")} for line in lines]


def test_a_trace_changes_no_bit_of_the_run(train, weights, tmp_path):
    plain = train(PSKD(0.8), folder=tmp_path / "plain")
    with_trace = train(PSKD(0.8), folder=tmp_path / "traced", trace=True)
    assert torch.equal(weights(plain), weights(with_trace))
    lines = read(tmp_path / "traced" / "metrics.jsonl")
    others = [{key: line[key] for key in line if not key.startswith("rescaling/")} for line in lines]
    assert others == read(tmp_path / "plain" / "metrics.jsonl")
    for values in traced(lines):
        assert set(values) == {f"rescaling/{i}/{key}" for i in range(1, 6) for key in KEYS}
        p_true = [values[f"rescaling/{i}/p_true"] for i in range(1, 6)]
        assert p_true == sorted(p_true, reverse=True)
    first = traced(lines)[0]
    assert all(first[f"rescaling/{i}/ratio"] == pytest.approx(1 - 0.0) for i in range(1, 6))
    assert traced(lines)[2]["rescaling/1/ratio"] != pytest.approx(1)


@pytest.mark.parametrize("stop_at", [2, 4, 5, 6, 9])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_stopped_within_an_epoch_has_the_same_trace(train, tmp_path, stopped, stop_at, accumulate):
    settings = {"checkpoint_steps": 3, "trace": True, "accumulate": accumulate}
    train(PSKD(0.8), folder=tmp_path / "whole", **settings)
    with stopped(stop_at):
        train(PSKD(0.8), folder=tmp_path / "cut", **settings)
    train(PSKD(0.8), folder=tmp_path / "cut", **settings)
    whole = read(tmp_path / "whole" / "metrics.jsonl")
    assert len(traced(whole)[1]) == 20
    assert read(tmp_path / "cut" / "metrics.jsonl") == whole


def test_a_trace_that_is_switched_on_within_an_epoch_leaves_that_epoch_out(train, tmp_path, stopped):
    with stopped(2):
        train(PSKD(0.8), folder=tmp_path / "run", checkpoint_steps=1)
    train(PSKD(0.8), folder=tmp_path / "run", trace=True)
    assert [len(values) for values in traced(read(tmp_path / "run" / "metrics.jsonl"))] == [0, 20, 20]


@pytest.mark.parametrize(("method", "ratio"), [(CrossEntropy(), 1.0), (LabelSmoothing(0.3), None)])
def test_other_methods_have_a_ratio_and_no_formula(train, tmp_path, method, ratio):
    train(method, folder=tmp_path / "run", trace=True)
    for values in traced(read(tmp_path / "run" / "metrics.jsonl")):
        assert set(values) == {f"rescaling/{i}/{key}" for i in range(1, 6) for key in ("p_true", "ratio")}
        ratios = [values[f"rescaling/{i}/ratio"] for i in range(1, 6)]
        assert all(found > 0 for found in ratios)
        assert (ratio is None and min(ratios) < 0.95) or ratios == pytest.approx([ratio] * 5)


def step_of(logits, labels, past, alpha, ids):
    units = Units(logits, labels, ids)
    lessons = [[Target("label", weight=1 - alpha), Target("past", past, alpha)]]
    return Step(Batch(ids, (), labels), Clock(0, 1), [units], None, lessons=lessons)


def test_groups_are_fifths_from_easy_to_hard_and_sums_are_divided():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(23, 5, generator=generator)
    past = (2 * torch.randn(23, 5, generator=generator)).softmax(1)
    labels = torch.arange(23) % 5
    # ids beyond the count: the space of ids may have gaps, where other examples are held out
    ids = torch.randperm(40, generator=generator)[:23]
    trace = Trace(40, 23)
    for piece in (slice(0, 10), slice(10, 23)):
        trace.add(step_of(logits[piece], labels[piece], past[piece], 0.4, ids[piece]))
    values = trace.means(Runtime("cpu", 1, 1))
    found = rescaling(logits.double(), labels, past.double(), 0.4)
    order = found.p_true.argsort(descending=True).tensor_split(5)
    gamma = 1 - found.p_true
    for i, group in enumerate(order, 1):
        weight = gamma[group] / gamma[group].sum()
        expected = [
            found.p_true[group].mean(),
            (found.ratio[group] * weight).sum(),
            (found.formula[group] * weight).sum(),
            found.holds[group].double().mean(),
        ]
        assert [values[f"rescaling/{i}/{key}"] for key in KEYS] == pytest.approx([float(x) for x in expected], rel=1e-5)
    assert trace.means(Runtime("cpu", 1, 1)) == {}


def test_examples_without_any_gradient_have_no_ratio():
    trace = Trace(3, 3)
    logits = torch.tensor([[1e4, 0.0], [0.0, 0.0], [0.0, 1.0]])
    ids, labels = torch.arange(3), torch.zeros(3, dtype=torch.int64)
    trace.add(step_of(logits, labels, torch.full((3, 2), 0.5), 0.5, ids))
    values = trace.means(Runtime("cpu", 1, 1))
    assert values["rescaling/1/p_true"] == 1
    assert "rescaling/1/ratio" not in values
    assert "rescaling/2/ratio" in values
    assert not any(key.startswith(("rescaling/4", "rescaling/5")) for key in values)


def test_mixed_images_and_several_students_are_refused(train, tiny):
    with pytest.raises(LimbeckError, match="mixed ones have two: set training.trace to false, or data.mix to null"):
        train(PSKD(0.8), mix=True, trace=True)
    examples, network = tiny
    objective = Objective(Peers([network(), network()]), CrossEntropy(), Classification())
    batch = next(iter(examples().epoch(0, batch_size=4, seed=0))).parts[0]
    with pytest.raises(LimbeckError, match="follows one student"):
        Trace(61, 61).add(objective(batch, Clock(0, 1)))
