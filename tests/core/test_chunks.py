"""Targets made chunk by chunk, and what a task adds: the same loss and gradient, for every method."""

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, LimbeckError, Objective, Output, Room
from limbeck.matching import AttentionTransfer
from limbeck.targets import DML, KDCL, PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg
from limbeck.tasks import Classification

METHODS = {
    "cross_entropy": CrossEntropy,
    "label_smoothing": LabelSmoothing,
    "kd": lambda: Hinton(alpha=0.7, temperature=2.0),
    "tfkd_reg": TfKDReg,
    "pskd": lambda: PSKD(alpha=0.8, top_k=3),
    "pskd_model": lambda: PSKD(alpha=0.8, memory="model"),
    "dml": DML,
    "kdcl": lambda: KDCL(views="shared", target_gradient=True),
}


class InChunks(Classification):
    chunk = 4


class Counting(nn.Linear):
    calls = 0

    def forward(self, view):
        type(self).calls += 1
        return super().forward(view)


def answers(view):
    return Output(view @ torch.linspace(-2, 2, 3 * 5, dtype=torch.float64).view(3, 5))


def trained(method, task):
    """Return losses, logged parts and gradients of three epochs of one batch."""
    writer = METHODS[method]()
    networks = []
    for seed in range(2 if method in {"dml", "kdcl"} else 1):
        torch.manual_seed(seed)
        networks.append(Counting(3, 5, dtype=torch.float64))
    objective = Objective(writer.cohort(networks), writer, task, answers if writer.needs.teacher else None, Room(10))
    batch = Batch(torch.arange(10), (torch.randn(10, 3, dtype=torch.float64),), torch.arange(10) % 5)
    found = []
    for epoch in range(3):
        step = objective(batch, Clock(epoch, 3))
        objective.zero_grad()
        (step.loss / step.units).backward()
        objective.after(step)
        objective.after_epoch()
        found.append([step.loss.detach(), *step.parts.values(), *(p.grad.clone() for p in objective.parameters())])
        with torch.no_grad():
            for parameter in objective.parameters():
                parameter.sub_(0.5 * parameter.grad)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_chunks_change_neither_loss_nor_gradient(method):
    torch.manual_seed(5)
    whole = trained(method, Classification())
    torch.manual_seed(5)
    cut = trained(method, InChunks())
    for one, other in zip(whole, cut, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_a_past_model_is_asked_once_however_many_chunks_there_are():
    Counting.calls = 0
    trained("pskd_model", InChunks())
    assert Counting.calls == 3 + 2


def test_matchers_and_chunks_exclude_each_other():
    cohort = CrossEntropy().cohort([nn.Linear(3, 5)])
    with pytest.raises(LimbeckError, match="InChunks takes its units in chunks, and matchers all together"):
        Objective(cohort, CrossEntropy(), InChunks(), answers, None, [AttentionTransfer()], (3, 8, 8))


class WithBoxes(Classification):
    def extra(self, output, batch):
        return {"boxes": (output.beside["boxes"] ** 2).sum()}


class Boxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 5))

    def forward(self, view):
        return Output(view @ self.weight, {"boxes": (view @ self.weight)[:, :2]})


def test_what_a_task_adds_is_in_the_loss_and_in_the_log():
    view = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.arange(4), (view,), torch.zeros(4, dtype=torch.long))
    network = Boxes()
    plain, more = (
        Objective(CrossEntropy().cohort([network]), CrossEntropy(), task)(batch, Clock(0, 1))
        for task in (Classification(), WithBoxes())
    )
    boxes = float((view.sum(1) ** 2).sum() * 2)
    assert float((more.loss - plain.loss).detach()) == pytest.approx(boxes, rel=1e-5)
    assert float(more.parts["boxes"]) == pytest.approx(boxes, rel=1e-5)
    assert list(more.parts) == ["label", "boxes"]
