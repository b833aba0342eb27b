"""The gradient picture against plain loops written from the paper, and against autograd of the real loss."""

import math

import pytest
import torch

from limbeck.analysis.rescaling import gradient_norms, rescaling
from limbeck.core import Batch, Clock, Objective, Output, Peers
from limbeck.core.batch import Units
from limbeck.core.imitation import Target, imitation
from limbeck.targets import PSKD
from limbeck.tasks import Classification

UNITS, CLASSES = 40, 6


def drawn(scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(UNITS, CLASSES, generator=generator, dtype=torch.float64)
    past = (scale * torch.randn(UNITS, CLASSES, generator=generator, dtype=torch.float64)).softmax(1)
    return logits, torch.randint(0, CLASSES, (UNITS,), generator=generator), past


def naive_softmax(row):
    powers = [math.exp(z - max(row)) for z in row]
    return [power / math.fsum(powers) for power in powers]


def naive(logits, labels, past, alpha):
    """One loop over examples, one over classes, in float64."""
    found = []
    for z, label, row in zip(logits.tolist(), labels.tolist(), past.tolist(), strict=True):
        p = naive_softmax(z)
        others = [i for i in range(len(p)) if i != label]
        hard = [p[i] - (i == label) for i in range(len(p))]
        soft = [p[i] - (1 - alpha) * (i == label) - alpha * row[i] for i in range(len(p))]
        gamma, gamma_past = math.fsum(p[i] for i in others), math.fsum(row[i] for i in others)
        ratio = math.fsum(map(abs, soft)) / math.fsum(map(abs, hard))
        holds = all(alpha <= p[i] / row[i] for i in others if row[i] > 0)
        found.append((ratio, 1 - alpha * gamma_past / gamma, holds, p[label]))
    return [torch.tensor(column, dtype=torch.float64) for column in zip(*found, strict=True)]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_it_is_what_plain_loops_say(alpha, scale):
    logits, labels, past = drawn(scale)
    found = rescaling(logits, labels, past, alpha)
    ratio, formula, holds, p_true = naive(logits, labels, past, alpha)
    torch.testing.assert_close(found.ratio, ratio, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.formula, formula, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.p_true, p_true, rtol=1e-12, atol=0)
    assert torch.equal(found.holds, holds.bool())


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.8])
def test_the_formula_is_exact_where_its_condition_holds_and_too_low_elsewhere(alpha):
    found = [rescaling(*drawn(1.0, seed), alpha) for seed in range(5)]
    ratio, formula, holds, _ = (torch.cat(columns) for columns in zip(*found, strict=True))
    assert holds.any()
    assert not holds.all()
    torch.testing.assert_close(ratio[holds], formula[holds])
    assert (ratio[~holds] > formula[~holds]).all()


class Table(torch.nn.Module):
    """Logits as parameters: their gradient is the gradient by the logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits.clone())

    def forward(self, view):
        return Output(self.logits)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_it_is_the_gradient_of_the_real_loss(scale):
    logits, labels, before = drawn(scale)
    writer = PSKD(0.8)
    batch = Batch(torch.arange(UNITS), (torch.zeros(UNITS, 1, 1, 1),), labels)
    table = Table(before.log().clamp(min=-400))
    objective = Objective(Peers([table]), writer, Classification(), None, UNITS)
    objective.after(objective(batch, Clock(0, 4)))
    objective.after_epoch()

    table.logits.data = logits
    step = objective(batch, Clock(2, 4))
    step.loss.backward()
    soft = table.logits.grad.abs().sum(1)
    norms = gradient_norms(step.students[0].logits, labels, step.lessons[0])
    # the bank keeps rows in float32, whose sums miss 1 by rounding: autograd sees that
    torch.testing.assert_close(norms.method, soft, rtol=1e-6, atol=1e-6)
    free = logits.clone().requires_grad_()
    torch.nn.functional.cross_entropy(free, labels, reduction="sum").backward()
    torch.testing.assert_close(norms.hard, free.grad.abs().sum(1), rtol=1e-9, atol=1e-12)
    past = {target.name: target for target in step.lessons[0]}["past"]
    assert past.weight == pytest.approx(0.8 * 3 / 4)


def test_any_targets_of_the_equation_are_served():
    logits, labels, past = drawn()
    other = drawn(seed=1)[2]
    targets = [
        Target("label", weight=0.3),
        Target("past", past, 0.5, temperature=4.0),
        Target("other", other, 0.4),
        Target("uniform", torch.full((1, CLASSES), 1 / CLASSES), 0.2, temperature=4.0),
    ]
    free = logits.clone().requires_grad_()
    imitation(Units(free, labels, labels), targets).total.backward()
    norms = gradient_norms(logits, labels, targets)
    torch.testing.assert_close(norms.method, free.grad.abs().sum(1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_label_alone_rescales_nothing(dtype):
    logits, labels, _ = drawn()
    norms = gradient_norms(logits.to(dtype), labels, [Target("label")])
    assert norms.hard.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(norms.method, norms.hard)


def test_extreme_logits_keep_their_digits():
    logits = torch.tensor([[60.0, 0.0, 0.0], [1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0, 0, 2])
    past = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    found = rescaling(logits, labels, past, 0.5)
    # γ = 2e-26 is nothing beside 1 in float32, and still divides
    assert found.ratio[0] == 1
    assert found.formula[0] == 1
    # the hard gradient is 0: there is no ratio
    assert found.ratio[1].isnan()
    assert found.formula[1].isnan()
    assert not found.holds[1]
    assert found.ratio[2:].tolist() == pytest.approx([0.6, 0.5])
    assert found.formula[2:].tolist() == pytest.approx([0.6, 0.5])
    assert found.holds[2:].all()
    assert found.p_true.tolist() == pytest.approx([1, 1, 0, 1 / 3])
