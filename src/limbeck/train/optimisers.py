"""Optimisers: PyTorch's own, with fields a recipe can set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from limbeck.core.config import Flag, Fraction, NonNegative, Positive, configurable
from limbeck.errors import LimbeckError


@runtime_checkable
class OptimiserChoice(Protocol):
    """Which optimiser, with what hyper-parameters."""

    lr: float

    @property
    def options(self) -> dict[str, Any]:
        """The hyper-parameters of a group of parameters, by PyTorch's names."""
        ...

    def build(self, groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
        """Return the optimiser over these parameters, or groups of them with hyper-parameters of their own."""
        ...


@configurable
class SGD:
    """Stochastic gradient descent with momentum. Weight decay acts on every parameter, as in the papers' code.

    Attributes:
        lr: the learning rate that the schedule multiplies.
        momentum: share of the last update that goes on; 0 is plain gradient descent.
        nesterov: look ahead by the momentum; without momentum it means nothing.
        weight_decay: added to the gradient, times the weight.
    """

    lr: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: Flag = True
    weight_decay: NonNegative = 5e-4

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `torch.optim.SGD`."""
        nesterov = self.nesterov and self.momentum > 0
        return {"lr": self.lr, "momentum": self.momentum, "nesterov": nesterov, "weight_decay": self.weight_decay}

    def build(self, groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
        """Return `torch.optim.SGD`."""
        return torch.optim.SGD(groups, **self.options)


@configurable
class AdamW:
    """Adam with decoupled weight decay.

    Attributes:
        lr: the learning rate that the schedule multiplies.
        beta1: decay of the gradient's mean.
        beta2: decay of the squared gradient's mean.
        weight_decay: taken from the weight at each step, times the learning rate.
    """

    lr: Positive = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    weight_decay: NonNegative = 0.05

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `torch.optim.AdamW`."""
        return {"lr": self.lr, "betas": (self.beta1, self.beta2), "weight_decay": self.weight_decay}

    def build(self, groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
        """Return `torch.optim.AdamW`."""
        return torch.optim.AdamW(groups, **self.options)


OPTIMISERS = {"sgd": SGD, "adamw": AdamW}


def check_kinds(choices: Sequence[OptimiserChoice]) -> None:
    """Check that one optimiser can serve several students.

    Raises:
        LimbeckError: the choices are of several kinds.
    """
    kinds = sorted({type(choice).__name__ for choice in choices})
    if len(kinds) > 1:
        raise LimbeckError(f"students of one run step by one kind of optimiser, not by {' and '.join(kinds)}")


def build(choices: Sequence[OptimiserChoice], networks: Sequence[nn.Module]) -> Optimizer:
    """Return one optimiser over several networks, with each one's own hyper-parameters.

    A group's `initial_lr` is the learning rate that the schedule multiplies.

    Raises:
        LimbeckError: the choices are of several kinds, or two networks share a weight.
    """
    check_kinds(choices)
    weights = [weight for network in networks for weight in network.parameters()]
    if len({id(weight) for weight in weights}) < len(weights):
        raise LimbeckError("two students share a weight, so they cannot step by themselves: make each network anew")
    groups = [
        {"params": list(network.parameters()), "initial_lr": choice.lr, **choice.options}
        for choice, network in zip(choices, networks, strict=True)
    ]
    return choices[0].build(groups)
