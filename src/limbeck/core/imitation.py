"""The equation: Σ_k w_k · T_k² · H(q_k, softmax(z / T_k)). One function evaluates it, for every method.

H is cross-entropy and linear in q at equal temperature, so all targets at one temperature are mixed first and cost
one log-softmax. KL differs from H by the entropy of q, which has no gradient: H is summed, KL is logged, so that a
logged 0 means perfect imitation. Of a q that carries gradient the entropy is subtracted: then KL is summed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Mix, Units
from limbeck.errors import LimbeckError


class Target(NamedTuple):
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

    def __rmul__(self, factor: float) -> Target:  # type: ignore[override]
        """Return the same target with its weight multiplied."""
        return self._replace(weight=factor * self.weight)


class Losses(NamedTuple):
    """What imitating cost, summed over the units; the training loop owns the denominator.

    Attributes:
        total: Σ_units Σ_k w_k T_k² H(q_k, p_T), carrying the gradient; KL in place of H for a q_k that carries one.
        parts: for each target by name, Σ_units KL(q_k ‖ p_T), unweighted and without gradient.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]


def imitation(units: Units, targets: Sequence[Target]) -> Losses:
    """Evaluate the equation for one network.

    Half-precision logits are raised to float32; float32 and float64 stay what they are. A target of weight 0 adds
    nothing and is still logged.

    Raises:
        LimbeckError: two targets have one name.
    """
    if len({target.name for target in targets}) < len(targets):
        raise LimbeckError(f"targets need different names; these are {[target.name for target in targets]}")
    logits = units.logits if units.logits.dtype == torch.float64 else units.logits.float()
    terms: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for temperature, group in _by_temperature(targets).items():
        log_p = functional.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
        if units.weight is not None:
            # cross-entropy is linear in log p; entropies are weighted where they are taken
            log_p = units.weight.to(log_p.dtype)[:, None] * log_p
        hard = label_cross_entropy(units, log_p) if any(target.probabilities is None for target in group) else None
        terms += _weighted(units, log_p, hard, group, temperature**2)
        with torch.no_grad():
            parts |= {target.name: _divergence(units, log_p, hard, target) for target in group}
    return Losses(sum(terms[1:], start=terms[0]) if terms else 0 * logits.sum(), parts)


def _by_temperature(targets: Sequence[Target]) -> dict[float, list[Target]]:
    groups: dict[float, list[Target]] = defaultdict(list)
    for target in targets:
        groups[target.temperature].append(target)
    return groups


def _weighted(
    units: Units, log_p: Tensor, hard: Tensor | None, targets: Sequence[Target], square: float
) -> list[Tensor]:
    """Return T² · H(Σ w_k q_k, p) as at most two terms: the labels', and all other targets', which are mixed first."""
    terms = []
    label_weight = square * sum(target.weight for target in targets if target.probabilities is None)
    if hard is not None and label_weight:
        terms.append(hard if label_weight == 1 else label_weight * hard)
    soft = [
        (-square * target.weight) * target.probabilities.to(log_p.dtype)
        for target in targets
        if target.probabilities is not None and target.weight
    ]
    if soft:
        terms.append((sum(soft[1:], start=soft[0]) * log_p).sum())
    moving = [
        (t.probabilities, t.weight) for t in targets if t.probabilities is not None and t.probabilities.requires_grad
    ]
    return terms + [
        (-square * weight) * _entropy(q.to(log_p.dtype).expand_as(log_p), units) for q, weight in moving if weight
    ]


def _entropy(q: Tensor, units: Units) -> Tensor:
    """Return Σ_units H(q), whose gradient is finite where q is 0."""
    return -_counted(q * q.clamp_min(torch.finfo(q.dtype).tiny).log(), units)


def _counted(values: Float[Tensor, "units ..."], units: Units) -> Float[Tensor, ""]:
    """Return the sum of all, of each unit as much as it counts."""
    if units.weight is None:
        return values.sum()
    each: Tensor = torch.tensordot(units.weight.to(values.dtype), values, 1)
    return each.sum()


def label_cross_entropy(units: Units, log_p: Float[Tensor, "units classes"]) -> Float[Tensor, ""]:
    """Return -Σ_units log p[label], where a mixed unit has its two labels by their shares.

    Args:
        units: whose labels.
        log_p: of each unit, as much as it counts.
    """
    if units.mix is None:
        return functional.nll_loss(log_p, units.labels, reduction="sum")
    own = log_p.gather(1, units.labels[:, None])[:, 0]
    partner = log_p.gather(1, units.mix.labels[:, None])[:, 0]
    share = units.mix.weight.to(log_p.dtype)
    return -(share * own + (1 - share) * partner).sum()


def _divergence(units: Units, log_p: Tensor, hard: Tensor | None, target: Target) -> Tensor:
    """Return Σ_units KL(q ‖ p) of one target."""
    if target.probabilities is not None:
        q = target.probabilities.detach().to(log_p.dtype).expand_as(log_p)
        if units.weight is None:
            return functional.kl_div(log_p.detach(), q, reduction="sum")
        return -_counted(torch.special.entr(q), units) - (q * log_p.detach()).sum()
    assert hard is not None
    return hard.detach() if units.mix is None else hard.detach() - _label_entropy(units, units.mix)


def _label_entropy(units: Units, mix: Mix) -> Tensor:
    """Return the entropy of the mixed labels; two equal labels have none."""
    two = torch.special.entr(mix.weight) + torch.special.entr(1 - mix.weight)
    both: Tensor = torch.where(units.labels == mix.labels, torch.zeros_like(two), two)
    return _counted(both, units)
