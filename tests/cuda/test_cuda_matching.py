"""Matchers on a GPU. Needs one, and says so where there is none."""

import pytest
import torch

from limbeck.core import Clock, Objective, Peers
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul
from limbeck.targets import DML, Hinton
from limbeck.tasks import Classification
from limbeck.teachers.teacher import Teacher
from limbeck.train.record import Sums, read

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

METHOD = Hinton(0.5, 2.0)
CODED = FactorTransfer(5.0, coder="autoencoder", factors=3)
MATCHERS = {
    "at": AttentionTransfer(20.0),
    "fitnet": FitNet(1.0),
    "ft": FactorTransfer(5.0),
    "od": Overhaul(0.01),
    "od, batch statistics": Overhaul(0.01, batch_statistics=True),
    "ie, ft": InheritExplore(CODED),
    "ie, at": InheritExplore(AttentionTransfer(20.0), split="random"),
}


def teacher(network, device):
    return Teacher(network(11, width=6, norm="batch").to(device))


def objective_of(matchers, network, device, method=None, students=1):
    taught_by = None if method is not None else teacher(network, device)
    nets = [network(3 + i).to(device) for i in range(students)]
    objective = Objective(Peers(nets), method or METHOD, Classification(), taught_by, 61, matchers, (1, 8, 8), 5)
    for link in objective.comparison.links:
        torch.manual_seed(9)
        if link.source is None and (coding := link.matcher.coding()) is not None:
            link.matcher.take(coding.coder.encoder.to(device))
    return objective.to(device)


@pytest.fixture
def run(train, tiny):
    """Return a function that trains the tiny network beside a teacher for two epochs on a device."""
    _, network = tiny

    def one(matchers, device, **more):
        taught_by = teacher(network, torch.device(device))
        return train(METHOD, taught_by, matchers=matchers, lr=0.02, device=device, epochs=2, **more)

    return one


@pytest.mark.parametrize("matcher", MATCHERS.values(), ids=MATCHERS)
def test_cuda_agrees_with_cpu(matcher, run, tmp_path, weights):
    cpu, cuda = (weights(run([matcher], device, folder=tmp_path / device)).cpu() for device in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, rtol=1e-2, atol=1e-2)
    ours, theirs = (read(tmp_path / device / "metrics.jsonl")[0] for device in ("cuda", "cpu"))
    shares = [name for name in theirs if name.startswith("gradient share")]
    assert shares
    assert [ours[name] for name in shares] == pytest.approx([theirs[name] for name in shares], rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_and_resumes(precision, run, tmp_path, weights, stopped):
    """Stopped in the middle of an epoch; loss scaler, adapters and shares are in the checkpoint."""
    matchers, settings = list(MATCHERS.values()), {"precision": precision, "clip": 1.0, "checkpoint_steps": 1}
    whole = run(matchers, "cuda", folder=tmp_path / "whole", **settings)
    assert weights(whole).isfinite().all()
    with stopped(2):
        run(matchers, "cuda", folder=tmp_path / "cut", **settings)
    again = run(matchers, "cuda", folder=tmp_path / "cut", **settings)
    torch.testing.assert_close(weights(again), weights(whole), rtol=1e-2, atol=1e-3)
    first, other = (read(tmp_path / name / "metrics.jsonl")[0] for name in ("whole", "cut"))
    assert first.keys() == other.keys()


def test_margins_are_measured_on_the_device(tiny):
    _, network = tiny
    found = []
    for device in ("cpu", "cuda"):
        objective = objective_of([Overhaul(margin="measured")], network, torch.device(device))
        (link,) = objective.comparison.links
        features = [torch.randn(5, *pair.teacher.shape, generator=torch.Generator().manual_seed(1)).to(device)
                    for pair in link.pairs]  # fmt: skip
        link.matcher.settle(link.matcher.survey(features))
        found.append([buffer.cpu() for name, buffer in link.matcher.named_buffers() if "margin" in name])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu)


@pytest.mark.parametrize("between", ["teacher", "peers"])
def test_a_step_waits_for_nothing(between, tiny):
    """No transfer to the host, no synchronisation: nor where shares of the gradient are found, in the first step."""
    examples, network = tiny
    peers = [InheritExplore(FactorTransfer(5.0, between="peers", coder="autoencoder", factors=3)),
             FitNet(1.0, between="peers")]  # fmt: skip
    matchers = list(MATCHERS.values()) if between == "teacher" else peers
    method, students = (None, 1) if between == "teacher" else (DML(1.0, updates="alternating"), 2)
    objective = objective_of(matchers, network, torch.device("cuda"), method, students).train()
    train = examples(device=torch.device("cuda"))

    def steps(rounds, sums):
        for number, (parts, _) in enumerate(rounds):
            for learner in objective.turns:
                step = objective(parts[0], Clock(1, 3, 4 + number, 12), learner)
                step.loss.backward()
                objective.after(step)
                sums.add(step)

    steps(list(train.epoch(0, batch_size=16, seed=0)), Sums())
    torch.cuda.synchronize()
    rounds = list(train.epoch(1, batch_size=16, seed=0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(rounds, Sums())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert objective.figures()
