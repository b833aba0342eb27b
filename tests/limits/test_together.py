"""Students that learn together: what they are when nobody listens, and what separate optimisers would do."""

import pytest
import torch

from limbeck.core import Batch, Clock, Mix, Objective, Peers
from limbeck.targets import DML, CrossEntropy
from limbeck.tasks import Classification

SEEDS = (3, 4, 5)


def solo(train, weights, seed, **settings):
    return weights(train(CrossEntropy(), seeds=[seed], **settings))


def parts(state, weights):
    return [torch.cat([p.detach().flatten() for p in part.parameters()]) for part in state.cohort.parts]


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"clip": 0.5}, {"mix": True}, {"ema": 0.9}], ids=str)
@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_students_that_do_not_listen_go_their_own_ways(train, weights, updates, settings):
    together = train(DML(0.0, updates=updates), seeds=SEEDS, **settings)
    for seed, found in zip(SEEDS, parts(together, weights), strict=True):
        assert torch.equal(found, solo(train, weights, seed, **settings))


@pytest.mark.parametrize("updates", ["simultaneous", "alternating"])
def test_students_that_listen_do_not(train, weights, updates):
    together = train(DML(1.0, updates=updates), seeds=SEEDS)
    for seed, found in zip(SEEDS, parts(together, weights), strict=True):
        assert not torch.allclose(found, solo(train, weights, seed), atol=1e-4)


def test_the_order_of_updates_matters(train, weights):
    one, other = (weights(train(DML(1.0, updates=updates), seeds=SEEDS)) for updates in ("simultaneous", "alternating"))
    assert not torch.allclose(one, other, atol=1e-5)


def test_of_two_students_sum_and_mean_are_one(train, weights):
    one, other = (weights(train(DML(1.0, peers=how), seeds=SEEDS[:2])) for how in ("mean", "sum"))
    assert torch.equal(one, other)
    mean, total = (weights(train(DML(w, peers=how), seeds=SEEDS)) for w, how in ((1.0, "mean"), (0.5, "sum")))
    torch.testing.assert_close(mean, total, rtol=1e-5, atol=1e-6)


def test_accumulation_is_one_batch(train, weights):
    for updates in ("simultaneous", "alternating"):
        whole, cut = (weights(train(DML(1.0, updates=updates), seeds=SEEDS, accumulate=n)) for n in (1, 4))
        torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mix", [False, True])
def test_one_optimiser_is_an_optimiser_each(tiny, mix):
    """By hand: each network with its own loss, its own backward pass and its own SGD."""
    _, network = tiny
    torch.manual_seed(0)
    view, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 4
    partner = Mix(torch.arange(8).flip(0), labels.flip(0), torch.linspace(0, 1, 8)) if mix else None
    networks, twins = ([network(seed) for seed in SEEDS] for _ in range(2))
    objective = Objective(Peers(networks), DML(2.0, 3.0), Classification())
    stepper = torch.optim.SGD(objective.parameters(), 0.1)
    objective(Batch(torch.arange(8), (view,), labels, partner), Clock(0, 1)).loss.backward()
    stepper.step()
    said = [twin(view) for twin in twins]
    for i, twin in enumerate(twins):
        log_p = said[i].log_softmax(-1)
        hard = -log_p[torch.arange(8), labels]
        if mix:
            share = torch.linspace(0, 1, 8)
            hard = share * hard - (1 - share) * log_p[torch.arange(8), labels.flip(0)]
        loss = hard.sum()
        for other in said[:i] + said[i + 1 :]:
            q = (other.detach() / 3).softmax(-1)
            divergence = torch.nn.functional.kl_div((said[i] / 3).log_softmax(-1), q, reduction="sum")
            loss = loss + 2.0 * 9 * divergence / 2
        loss.backward()
        torch.optim.SGD(twin.parameters(), 0.1).step()
    for network, twin in zip(networks, twins, strict=True):
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_listening_leaves_no_trace():
    """A peer in training mode that only listens keeps its batch statistics, and answers by those of the batch."""
    torch.manual_seed(0)
    students = [torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)) for _ in "ab"]
    peers, view = Peers(students), torch.randn(5, 1, 2, 2) * 3 + 1
    before = {name: value.clone() for name, value in peers.state_dict().items()}
    outputs = peers([view], learner=0)
    after = peers.state_dict()
    assert not torch.equal(after["students.0.0.running_mean"], before["students.0.0.running_mean"])
    assert torch.equal(after["students.1.0.running_mean"], before["students.1.0.running_mean"])
    assert torch.equal(after["students.1.0.num_batches_tracked"], before["students.1.0.num_batches_tracked"])
    assert outputs[0].logits.requires_grad
    assert not outputs[1].logits.requires_grad
    torch.testing.assert_close(outputs[1].logits, peers([view])[1].logits)
