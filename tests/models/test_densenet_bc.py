"""DenseNet-BC for small images: the sizes that ESKD gives, and what the name settles."""

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model, check_model, parameters
from limbeck.teachers.relation import outline


@pytest.mark.parametrize(
    ("name", "millions"),
    [("40_24", 0.69), ("100_12", 0.77), ("40_48", 2.73), ("100_24", 3.02)],
)
def test_parameters_are_those_of_eskd(name, millions):
    assert round(parameters(outline(ModelSpec(f"densenet_bc_{name}"))) / 1e6, 2) == millions


@pytest.mark.parametrize("size", [4, 8, 32])
def test_it_answers_and_learns(size):
    torch.manual_seed(0)
    network = build_model(ModelSpec("densenet_bc_10_4"), 5, 1)
    logits = network(torch.randn(3, 1, size, size))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_depths_that_are_none_are_refused():
    with pytest.raises(LimbeckError, match=r"model 'densenet_bc_41_12', depth=41: should be 6n \+ 4"):
        check_model(ModelSpec("densenet_bc_41_12"))
