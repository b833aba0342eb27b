"""What a teacher must be beside its student, checked before anything is trained."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from limbeck.core.objective import Relation
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model, parameters


def check_relation(relation: Relation, teacher: nn.Module, student: nn.Module, where: str) -> None:
    """Compare two networks: by number of parameters, or all their shapes where they must be the same.

    Raises:
        LimbeckError: they are not what is asked for.
    """
    ours, theirs = parameters(student), sum(weight.numel() for weight in teacher.parameters())
    holds = {
        "any": True,
        "larger": theirs > ours,
        "smaller": theirs < ours,
        "same": _shapes(teacher) == _shapes(student),
    }
    if not holds[relation]:
        asked = "the same network as" if relation == "same" else f"{relation} than"
        raise LimbeckError(
            f"{where}: the teacher must be {asked} the student, but has {theirs:,} parameters, the student {ours:,}: "
            "choose another network, or another method or teacher.relation"
        )


def outline(model: ModelSpec, classes: int = 10) -> nn.Module:
    """Build a network for RGB images without memory or weights, to count and compare it."""
    with torch.device("meta"):
        options = {name: option for name, option in model.options.items() if name != "pretrained"}
        return build_model(dataclasses.replace(model, options=options), classes, 3)


def _shapes(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in network.state_dict().items()]
