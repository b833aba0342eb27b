"""Students that learn together at weight 0 are what each is alone, bit by bit."""

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, Objective, Peers
from limbeck.targets import KDCL, CrossEntropy
from limbeck.tasks import Classification

STUDENTS, STEPS, EXAMPLES = 3, 5, 12


def student(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))


def view(step, number):
    generator = torch.Generator().manual_seed(100 * step + number)
    return torch.randn(EXAMPLES, 1, 4, 4, generator=generator)


def trained(students, writer, views):
    """Train by one SGD and return the students; `views` are the numbers of what they see."""
    objective = Objective(Peers(students), writer, Classification(), examples=EXAMPLES)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for step in range(STEPS):
        seen = tuple(view(step, number) for number in views)
        batch = Batch(torch.arange(EXAMPLES), seen, torch.arange(EXAMPLES) % 4)
        optimiser.zero_grad()
        (objective(batch, Clock(0, 1)).loss / EXAMPLES).backward()
        optimiser.step()
    return students


@pytest.mark.parametrize("views", ["own", "shared"])
@pytest.mark.parametrize("ensemble", ["naive", "linear", "minlogit", "general"])
def test_at_weight_zero_every_student_of_kdcl_is_what_it_is_alone(ensemble, views):
    numbers = range(STUDENTS) if views == "own" else [0]
    together = trained([student(i) for i in range(STUDENTS)], KDCL(ensemble, 0.0, views=views), numbers)
    taught = trained([student(i) for i in range(STUDENTS)], KDCL(ensemble, 1.0, views=views), numbers)
    for i in range(STUDENTS):
        (alone,) = trained([student(i)], CrossEntropy(), [i if views == "own" else 0])
        assert all(torch.equal(a, b) for a, b in zip(together[i].parameters(), alone.parameters(), strict=True))
        assert not torch.allclose(taught[i][1].weight, alone[1].weight, atol=1e-4)
