"""PS-KD by a copy of the network, against a loop written by hand."""

import copy

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, Mix, Objective, Peers
from limbeck.targets import PSKD
from limbeck.tasks import Classification

EPOCHS, EXAMPLES, CLASSES, ALPHA = 3, 24, 4, 0.8


def network():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, CLASSES)
    )


def batches(mixed):
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(EXAMPLES) % CLASSES
    images = torch.randn(EXAMPLES, 1, 3, 3, generator=generator)
    for _ in range(EPOCHS):
        for ids in torch.randperm(EXAMPLES, generator=generator).split(8):
            mix, view, partner = None, images[ids], ids.roll(1)
            if mixed:
                share = torch.rand(8, generator=generator)
                mix = Mix(partner, labels[partner], share)
                view = torch.lerp(images[partner], view, share[:, None, None, None])
            yield Batch(ids, (view,), labels[ids], mix)


@pytest.mark.parametrize("mixed", [False, True])
def test_against_a_loop_by_hand(mixed):
    net = network()
    objective = Objective(Peers([net]), PSKD(ALPHA, memory="model"), Classification(), examples=EXAMPLES)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    hand = network()
    other, past = torch.optim.SGD(hand.parameters(), lr=0.1), None
    for number, batch in enumerate(batches(mixed)):
        epoch = number // 3
        torch.manual_seed(number)
        step = objective(batch, Clock(epoch, EPOCHS))
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
        objective.after(step)

        torch.manual_seed(number)
        log_p = hand(batch.views[0]).log_softmax(1)
        label = nn.functional.one_hot(batch.labels, CLASSES).float()
        if mixed:
            share = batch.mix.weight[:, None]
            label = share * label + (1 - share) * nn.functional.one_hot(batch.mix.labels, CLASSES)
        alpha = ALPHA * (epoch + 1) / EPOCHS
        soft = label
        if past is not None:
            with torch.no_grad():
                soft = (1 - alpha) * label + alpha * past(batch.views[0]).softmax(1)
        other.zero_grad()
        (-(soft * log_p).sum()).backward()
        other.step()
        if number % 3 == 2:
            objective.after_epoch()
            past = copy.deepcopy(hand).eval()
    for ours, theirs in zip(net.state_dict().values(), hand.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_is_frozen_and_apart_from_the_student():
    net = network()
    objective = Objective(Peers([net]), PSKD(memory="model"), Classification(), examples=EXAMPLES)
    batch = next(batches(False))
    objective(batch, Clock(0, 2)).loss.backward()
    objective.after_epoch()
    before = copy.deepcopy(objective.writer.state_dict())
    step = objective(batch, Clock(1, 2))
    step.loss.backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    objective.after(step)
    after = objective.writer.state_dict()
    assert all(torch.equal(before["snapshot"][name], value) for name, value in after["snapshot"].items())
    assert not any(value.requires_grad for value in after["snapshot"].values())
    assert len(list(objective.parameters())) == len(list(net.parameters()))
    assert net.training
