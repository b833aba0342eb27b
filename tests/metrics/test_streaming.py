from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from limbeck.errors import LimbeckError
from limbeck.metrics import (
    RunningAURC,
    RunningBrier,
    RunningECE,
    RunningError,
    RunningNLL,
    accuracy,
    aurc,
    brier,
    confidences,
    ece,
    nll,
    summary,
)

METRICS = {
    "nll": RunningNLL,
    "error": RunningError,
    "top5_error": lambda: RunningError(top=5),
    "brier": RunningBrier,
    "ece": RunningECE,
    "aurc": RunningAURC,
}


@pytest.fixture
def worker(monkeypatch):
    # By path, so that the module has the same name in the processes that are spawned from here.
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import metrics_worker

    return metrics_worker


def pure(logits, labels):
    probs = torch.softmax(logits, dim=1)
    return {
        "nll": nll(logits, labels),
        "error": 1 - accuracy(logits, labels),
        "top5_error": 1 - accuracy(logits, labels, top=5),
        "brier": brier(probs, labels),
        "ece": ece(probs, labels),
        "aurc": aurc(*confidences(probs, labels)),
    }


@pytest.fixture
def answers(golden):
    return torch.from_numpy(golden.logits[:200]), torch.from_numpy(golden.labels[:200])


@pytest.mark.parametrize("name", METRICS)
def test_batches_and_merged_processes_equal_the_pure_function(answers, name):
    logits, labels = answers
    first, second = METRICS[name](), METRICS[name]()
    for start, end, metric in ((0, 64, first), (64, 77, first), (77, 200, second)):
        metric.update(logits[start:end], labels[start:end])
    assert float(first.compute()) == pytest.approx(pure(logits[:77], labels[:77])[name], abs=1e-13)
    first.merge_state(second)
    result = first.compute()
    assert result.dtype == torch.float64
    assert float(result) == pytest.approx(pure(logits, labels)[name], abs=1e-13)


@pytest.mark.parametrize("name", METRICS)
def test_forward_reset_and_before_any_example(answers, name):
    logits, labels = answers
    metric = METRICS[name]()
    with pytest.warns(UserWarning, match="compute"), pytest.raises(LimbeckError, match="seen no examples"):
        metric.compute()
    batch = metric(logits[:50], labels[:50])
    assert float(batch) == pytest.approx(pure(logits[:50], labels[:50])[name], abs=1e-13)
    metric(logits[50:], labels[50:])
    assert float(metric.compute()) == pytest.approx(pure(logits, labels)[name], abs=1e-13)
    metric.reset()
    metric.update(logits[:3], labels[:3])
    assert float(metric.compute()) == pytest.approx(pure(logits[:3], labels[:3])[name], abs=1e-13)


def test_a_collection_keeps_its_metrics_apart(answers, worker):
    # A saturated first batch that is all right: NLL, Brier and both errors are 0, and look alike.
    logits, labels = answers
    perfect, right = 1e4 * torch.eye(10, dtype=torch.float64), torch.arange(10)
    metrics = worker.all_metrics()
    metrics.update(perfect, right)
    metrics.update(logits, labels)
    expected = pure(torch.cat([perfect, logits]), torch.cat([right, labels]))
    results = metrics.compute()
    assert {key: float(value) for key, value in results.items()} == pytest.approx(expected, abs=1e-13)


def test_half_precision_batches(answers):
    logits, labels = answers[0].half(), answers[1].int()
    for name, build in METRICS.items():
        metric = build()
        metric.update(logits, labels)
        assert float(metric.compute()) == pytest.approx(pure(logits.double(), labels)[name], abs=1e-13)


def test_bad_input_is_refused(answers):
    logits, labels = answers
    with pytest.raises(LimbeckError, match="bins is 0"):
        RunningECE(bins=0)
    with pytest.raises(LimbeckError, match=r"top is 11 but must lie in 1\.\.10"):
        RunningError(top=11).update(logits, labels)
    with pytest.raises(LimbeckError, match="top is 0"):
        RunningError(top=0).update(logits, labels)
    for build in METRICS.values():
        with pytest.raises(LimbeckError, match="label of row 0 is"):
            build().update(logits, labels - 100)


@pytest.mark.timeout(60)  # about 8 s, most of it two imports of torch
def test_two_real_processes_equal_one(golden, worker, tmp_path):
    import numpy as np

    logits, labels = golden.logits[:200], golden.labels[:200]
    np.savez(tmp_path / "data.npz", logits=logits, labels=labels)
    multiprocessing.spawn(worker.measure, args=(tmp_path,), nprocs=2)
    expected = summary(logits, labels)
    del expected["eaurc"]
    for rank in range(2):
        answers = json.loads((tmp_path / f"answers-{rank}.json").read_text(encoding="utf-8"))
        assert answers["unequal"] == pytest.approx(expected, abs=1e-13)
        assert answers["idle"] == pytest.approx(expected, abs=1e-13)
