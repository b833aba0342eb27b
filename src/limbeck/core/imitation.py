"""The equation: Σ_k w_k · T_k² · H(q_k, softmax(z / T_k)). One function evaluates it, for every method.

H is cross-entropy and linear in q at equal temperature, so all targets at one temperature are mixed first and cost
one log-softmax. KL differs from H by the entropy of q, which has no gradient: H is summed, KL is logged, so that a
logged 0 means perfect imitation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Units


@dataclass(frozen=True)
class Target:
    """Probabilities to imitate.

    Attributes:
        name: what the logs call it.
        probabilities: [U, K], or [1, K] for one distribution that all units share; None means the unit's label.
            They carry no gradient unless the method wants one.
        weight: w in the equation; `weight * target` scales it.
        temperature: T in the equation: the student is read at T and the term is multiplied by T².
    """

    name: str
    probabilities: Float[Tensor, "#units classes"] | None = None
    weight: float = 1.0
    temperature: float = 1.0

    def __rmul__(self, factor: float) -> Target:
        """Return the same target with its weight multiplied."""
        return replace(self, weight=factor * self.weight)


class Losses(NamedTuple):
    """What imitating cost, summed over the units; the training loop owns the denominator.

    Attributes:
        total: Σ_units Σ_k w_k T_k² H(q_k, p_T), carrying the gradient.
        parts: for each target by name, Σ_units KL(q_k ‖ p_T), unweighted and without gradient.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


def imitation(units: Units, targets: Sequence[Target]) -> Losses:
    """Evaluate the equation for one network.

    Half-precision logits are raised to float32; float32 and float64 stay what they are. A target of weight 0 costs
    nothing and is logged as if it had a weight.
    """
    logits = units.logits if units.logits.dtype == torch.float64 else units.logits.float()
    total = logits.new_zeros(())
    parts: dict[str, Tensor] = {}
    for temperature, group in _by_temperature(targets).items():
        log_p = functional.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
        total = total + temperature**2 * _mixed_cross_entropy(units, log_p, group)
        with torch.no_grad():
            parts |= {target.name: _divergence(units, log_p.detach(), target) for target in group}
    return Losses(total, parts)


def _by_temperature(targets: Sequence[Target]) -> dict[float, list[Target]]:
    groups: dict[float, list[Target]] = defaultdict(list)
    for target in targets:
        groups[target.temperature].append(target)
    return groups


def _mixed_cross_entropy(units: Units, log_p: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return H(Σ w_k q_k, p), summed over the units: labels are gathered, the rest is mixed before one product."""
    total = log_p.new_zeros(())
    label_weight = sum(target.weight for target in targets if target.probabilities is None)
    if label_weight:
        total = total + label_weight * label_cross_entropy(units, log_p)
    soft = [(t.weight, t.probabilities.to(log_p.dtype)) for t in targets if t.probabilities is not None and t.weight]
    if soft:
        mixture = sum(weight * probabilities for weight, probabilities in soft)
        total = total - (mixture * log_p).sum()
    return total


def label_cross_entropy(units: Units, log_p: Float[Tensor, "units classes"]) -> Float[Tensor, ""]:
    """Return -Σ_units log p[label], where a mixed unit has its two labels by their shares."""
    own = log_p.gather(1, units.labels[:, None])[:, 0]
    if units.mix is None:
        return -own.sum()
    partner = log_p.gather(1, units.mix.labels[:, None])[:, 0]
    share = units.mix.weight.to(log_p.dtype)
    return -(share * own + (1 - share) * partner).sum()


def _divergence(units: Units, log_p: Tensor, target: Target) -> Tensor:
    """Return Σ_units KL(q ‖ p) of one target."""
    if target.probabilities is None:
        return label_cross_entropy(units, log_p) - _label_entropy(units)
    q = target.probabilities.detach().to(log_p.dtype).expand_as(log_p)
    entropy: Tensor = torch.special.entr(q).sum()
    return -(q * log_p).sum() - entropy


def _label_entropy(units: Units) -> Shaped[Tensor, ""] | float:
    """Return the entropy of the mixed labels; plain labels have none."""
    if units.mix is None:
        return 0.0
    share = units.mix.weight
    two = torch.special.entr(share) + torch.special.entr(1 - share)
    both: Tensor = torch.where(units.labels == units.mix.labels, torch.zeros_like(two), two)
    return both.sum()
