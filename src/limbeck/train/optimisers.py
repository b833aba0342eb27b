"""Optimisers: PyTorch's own, with fields a recipe can set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from limbeck.core.config import Flag, Fraction, NonNegative, Positive, configurable


@runtime_checkable
class OptimiserChoice(Protocol):
    """Which optimiser, with what hyper-parameters."""

    lr: float

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return the optimiser over these parameters."""
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

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return `torch.optim.SGD`."""
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=nesterov, weight_decay=self.weight_decay
        )


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

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return `torch.optim.AdamW`."""
        return torch.optim.AdamW(parameters, lr=self.lr, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay)


OPTIMISERS = {"sgd": SGD, "adamw": AdamW}
