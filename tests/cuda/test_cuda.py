"""The same on a GPU. Needs one, and says so where there is none."""

import pytest
import torch

from limbeck.core import Batch, Clock, Objective, Output, Peers
from limbeck.data import draws
from limbeck.targets import PSKD, CrossEntropy, Hinton, LabelSmoothing
from limbeck.tasks import Classification
from limbeck.train.record import Sums

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

METHODS = [CrossEntropy(), LabelSmoothing(0.1), Hinton(0.5, 2.0), PSKD(0.8)]
METHODS += [PSKD(0.8, bank=bank, dtype=dtype) for bank in ("ram", "disk") for dtype in ("float32", "float16")]
METHODS += [PSKD(0.8, top_k=2), PSKD(0.8, window=2), PSKD(0.8, memory="model")]


def taught(method):
    return (lambda view: Output(view.flatten(1)[:, :4])) if method.needs.teacher else None


@pytest.fixture
def run(train):
    """Return a function that trains the tiny network for two epochs on a device."""
    return lambda method, device, **more: train(method, taught(method), lr=0.05, device=device, epochs=2, **more)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method}")
def test_cuda_agrees_with_cpu(method, run, weights):
    cpu, cuda = (weights(run(method, device)).cpu() for device in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_and_resumes(precision, run, tmp_path, weights):
    """The second call loads the first one's last checkpoint, loss scaler included."""
    state = run(PSKD(0.8), "cuda", folder=tmp_path, precision=precision, clip=1.0)
    assert weights(state).isfinite().all()
    again = run(PSKD(0.8), "cuda", folder=tmp_path, precision=precision, clip=1.0)
    assert torch.equal(weights(state), weights(again))
    assert state.runtime.state_dict() == again.runtime.state_dict()


def test_draws_are_the_same_bits_on_both():
    ids = torch.arange(1000)
    cpu, cuda = (draws.uniform(1, 2, 0, ids.to(device), 5).cpu() for device in ("cpu", "cuda"))
    assert torch.equal(cpu, cuda)


@pytest.mark.parametrize(
    "method", [one for one in METHODS if getattr(one, "bank", "device") == "device"], ids=lambda method: f"{method}"
)
def test_a_step_waits_for_nothing(method, tiny):
    """No transfer to the host, no synchronisation: neither in the forward nor in what is remembered."""
    examples, network = tiny
    net = network().cuda()
    objective = Objective(Peers([net]), method, Classification(), taught(method), 61).cuda()
    train = examples(device=torch.device("cuda"))

    def epoch(number):
        for parts, _ in train.epoch(number, batch_size=16, seed=0):
            step = objective(parts[0], Clock(number, 3))
            step.loss.backward()
            objective.after(step)

    epoch(0)
    torch.cuda.synchronize()
    rounds = list(train.epoch(1, batch_size=16, seed=0))
    torch.cuda.set_sync_debug_mode("error")
    sums = Sums()
    try:
        for parts, _ in rounds:
            step = objective(parts[0], Clock(1, 3))
            step.loss.backward()
            objective.after(step)
            sums.add(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert isinstance(parts[0], Batch)
