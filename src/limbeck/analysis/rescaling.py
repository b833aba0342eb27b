"""How a method rescales the gradient of each example, against the hard label alone (PS-KD, Kim et al., ICCV 2021).

With p = softmax(z), y the label and γ = 1 - p_y, the gradient of H(y, p) by the logits is p - y, of L1 norm 2γ. That of
the equation Σ_k w_k T_k² H(q_k, p_T) is Σ_k w_k T_k (p_T - q_k). For PS-KD, w = (1 - α, α) and q = (y, the past
prediction), the ratio of the two norms is

    1 - α γ_{t-1} / γ_t

exactly where α ≤ p_{t,i} / p_{t-1,i} for every class i but the true one; elsewhere it is larger. The true class needs
no condition: both gradients sum to 0 over the classes, so its entry is minus the sum of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limbeck.core.imitation import Target


class Norms(NamedTuple):
    """The L1 norms of two gradients by the logits, example by example.

    Attributes:
        method: of the method's loss, float [U].
        hard: of the cross-entropy with the label, float [U].
        p_true: the probability of the true class, float [U].
    """

    method: Float[Tensor, " units"]
    hard: Float[Tensor, " units"]
    p_true: Float[Tensor, " units"]


class Rescaling(NamedTuple):
    """How PS-KD rescales the gradient of each example.

    Attributes:
        ratio: the L1 norm of its gradient by that of the hard label's, float [U]; NaN where the latter is 0, since then
            there is nothing to rescale.
        formula: 1 - α γ_{t-1} / γ_t, float [U]; NaN where γ_t is 0.
        holds: where the formula's condition holds, so that it equals the ratio, bool [U].
        p_true: the probability of the true class now, float [U].
    """

    ratio: Float[Tensor, " units"]
    formula: Float[Tensor, " units"]
    holds: Bool[Tensor, " units"]
    p_true: Float[Tensor, " units"]


def rescaling(
    logits: Float[Tensor, "units classes"],
    labels: Int[Tensor, " units"],
    past: Float[Tensor, "units classes"],
    alpha: float,
) -> Rescaling:
    """Compare PS-KD's gradient with the hard label's.

    Args:
        logits: of now, temperature 1.
        labels: in 0..K-1.
        past: the past prediction, probabilities.
        alpha: its share in the target, in [0, 1].
    """
    norms = gradient_norms(logits, labels, [(1 - alpha) * Target("label"), alpha * Target("past", past)])
    hard = torch.where(norms.hard > 0, norms.hard, torch.nan)
    formula = 1 - 2 * alpha * unlikelihood(past, labels).to(hard.dtype) / hard
    return Rescaling(norms.method / hard, formula, condition(logits, labels, past, alpha), norms.p_true)


@torch.no_grad()
def gradient_norms(
    logits: Float[Tensor, "units classes"], labels: Int[Tensor, " units"], targets: Sequence[Target]
) -> Norms:
    """Return the norms for any targets of the equation whose rows sum to 1; starts no transfer.

    Half-precision logits are raised to float32; float32 and float64 stay what they are.
    """
    logits = _raised(logits)
    others = _others(logits, labels)
    p = logits.softmax(1)
    by_temperature = {1.0: p}
    # the label's own target is 0 for these classes
    gradient = torch.zeros_like(p)
    for target in targets:
        if target.temperature not in by_temperature:
            by_temperature[target.temperature] = (logits / target.temperature).softmax(1)
        tempered = by_temperature[target.temperature]
        wanted = 0.0 if target.probabilities is None else target.probabilities.to(p.dtype)
        gradient += target.weight * target.temperature * (tempered - wanted)
    gradient *= others
    return Norms(
        gradient.abs().sum(1) + gradient.sum(1).abs(),
        2 * (p * others).sum(1),
        p.gather(1, labels[:, None])[:, 0],
    )


@torch.no_grad()
def condition(
    logits: Float[Tensor, "units classes"],
    labels: Int[Tensor, " units"],
    past: Float[Tensor, "units classes"],
    alpha: float,
) -> Bool[Tensor, " units"]:
    """Say where α p_{t-1,i} ≤ p_{t,i} for every class i but the true one."""
    p = _raised(logits).softmax(1)
    return ((alpha * past.to(p.dtype) <= p) | ~_others(p, labels)).all(1)


@torch.no_grad()
def unlikelihood(
    probabilities: Float[Tensor, "units classes"], labels: Int[Tensor, " units"]
) -> Float[Tensor, " units"]:
    """Return γ = 1 - p_y as the sum of the other classes, which keeps the digits of a small one."""
    return (probabilities * _others(probabilities, labels)).sum(1)


def _raised(logits: Tensor) -> Tensor:
    return logits.detach() if logits.dtype == torch.float64 else logits.detach().float()


def _others(like: Tensor, labels: Tensor) -> Tensor:
    """Return where a class is not the true one, bool [U, K]."""
    return torch.arange(like.shape[1], device=like.device) != labels[:, None]
