import math

import pytest
import torch
from torch.optim import lr_scheduler

from limbeck.train.optimisers import SGD, AdamW
from limbeck.train.rates import ConstantRate, Cosine, MultiStep, OneCycle, Step, rate_at


def torchs(make, steps):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = make(optimiser)
    factors = []
    for _ in range(steps):
        factors.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return factors


def test_multi_step_drops_at_the_start_of_the_milestone_epochs_as_the_papers_code_does():
    rate = MultiStep((150.0, 225.0))
    factors = [rate_at(rate, epoch, 1, 300) for epoch in range(300)]
    assert factors[149:151] == [1.0, pytest.approx(0.1)]
    assert factors[224:226] == [pytest.approx(0.1), pytest.approx(0.01)]
    assert factors == pytest.approx(torchs(lambda o: lr_scheduler.MultiStepLR(o, [150, 225]), 300))
    assert [rate_at(MultiStep((0.5, 0.75)), epoch, 1, 300) for epoch in range(300)] == pytest.approx(factors)


def test_step_and_cosine_agree_with_torch():
    assert [rate_at(Step(3, 0.5), epoch, 1, 10) for epoch in range(10)] == pytest.approx(
        torchs(lambda o: lr_scheduler.StepLR(o, 3, 0.5), 10)
    )
    assert [rate_at(Cosine(), step, 5, 10) for step in range(50)] == pytest.approx(
        torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 50), 50), abs=1e-12
    )


def test_one_cycle_starts_low_peaks_and_ends_lower():
    factors = [rate_at(OneCycle(), step, 10, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.04)
    assert max(factors) == factors[30] == 1.0
    assert factors[100] == pytest.approx(4e-6)


def test_warmup_rises_step_by_step_to_the_schedules_own_value():
    factors = [rate_at(ConstantRate(warmup=2.0), step, 5, 10) for step in range(12)]
    assert factors == pytest.approx([*(k / 10 for k in range(1, 11)), 1.0, 1.0])


def test_optimisers_are_torchs_with_the_fields_given():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    sgd = SGD(0.05, weight_decay=1e-4).build(parameters)
    assert sgd.defaults["nesterov"]
    assert math.isclose(sgd.defaults["weight_decay"], 1e-4)
    assert not SGD(momentum=0.0).build(parameters).defaults["nesterov"]
    assert AdamW(beta2=0.99).build(parameters).defaults["betas"] == (0.9, 0.99)
    with pytest.raises(ValueError, match="lr"):
        SGD(lr=0.0)
