"""Student beside teacher, against plain loops."""

import math

import pytest
import torch

from limbeck.analysis.mimicry import mimicry
from limbeck.errors import LimbeckError


def softmax(row, temperature):
    exps = [math.exp((z - max(row)) / temperature) for z in row]
    return [e / sum(exps) for e in exps]


def naive(student, teacher, labels, temperature):
    kd = ce = wrong = teacher_wrong = same = copied = 0
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        p, q = softmax(ours, temperature), softmax(theirs, temperature)
        kd += sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        ce -= math.log(softmax(ours, 1)[label])
        said, taught = ours.index(max(ours)), theirs.index(max(theirs))
        wrong += said != label
        same += said == taught
        teacher_wrong += taught != label
        copied += said == taught != label
    n = len(labels)
    return kd / n, ce / n, wrong / n, teacher_wrong / n, same / n, copied / teacher_wrong if teacher_wrong else math.nan


@pytest.mark.parametrize("temperature", [1.0, 4.0, 0.5])
def test_the_figures_are_what_loops_give(temperature):
    generator = torch.Generator().manual_seed(3)
    student, teacher = 3 * torch.randn(2, 40, 5, generator=generator)
    labels = torch.randint(5, (40,), generator=generator)
    wanted = naive(student.double().tolist(), teacher.double().tolist(), labels.tolist(), temperature)
    assert mimicry(student, teacher, labels, temperature) == pytest.approx(wanted)


def test_a_copy_of_the_teacher_mimics_it_wholly():
    teacher = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    found = mimicry(teacher + 5, teacher, torch.tensor([0, 1, 1]), 4.0)
    assert found.kd_loss == pytest.approx(0, abs=1e-12)
    assert (found.agreement, found.copied, found.error) == (1, 1, found.teacher_error)
    right = mimicry(teacher, teacher, torch.tensor([0, 1, 0]), 4.0)
    assert math.isnan(right.copied)


def test_the_parameter_free_loss_is_finite_far_out():
    far = torch.tensor([[1000.0, -1000.0]])
    assert mimicry(-far, far, torch.tensor([0]), 1.0).kd_loss == pytest.approx(2000)


def test_nothing_to_compare_is_refused():
    with pytest.raises(LimbeckError, match="at least one example"):
        mimicry(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 1.0)
    with pytest.raises(LimbeckError, match="a temperature above 0"):
        mimicry(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), 0.0)


def test_what_is_not_finite_is_not_taken_for_perfect():
    logits = torch.tensor([[math.inf, 0.0]])
    assert math.isnan(mimicry(logits, torch.zeros(1, 2), torch.tensor([0]), 1.0).kd_loss)
