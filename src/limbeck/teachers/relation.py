"""What a teacher must be beside its student, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from limbeck.core.writer import Relation
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.models.table import untrained


def check_names(relation: Relation, teacher: ModelSpec, student: ModelSpec, where: str) -> None:
    """Compare two networks by name and options: what can be said without knowing the classes.

    Raises:
        LimbeckError: they are one network and must not be, or the other way round.
    """
    if relation != "any" and (teacher == student) != (relation == "same"):
        raise _refusal(relation, where, f"is {_written(teacher)}, the student {_written(student)}")


def check_relation(relation: Relation, teacher: nn.Module, student: nn.Module, where: str) -> None:
    """Compare two networks: by number of parameters, or by all their shapes where they must be the same.

    Raises:
        LimbeckError: they are not what is asked for.
    """
    theirs, ours = (sum(weight.numel() for weight in network.parameters()) for network in (teacher, student))
    holds = {
        "any": True,
        "larger": theirs > ours,
        "smaller": theirs < ours,
        "same": _shapes(teacher) == _shapes(student),
    }
    if not holds[relation]:
        raise _refusal(relation, where, f"has {theirs:,} parameters, the student {ours:,}")


def check_same_classes(where: str, learned: Sequence[str] | None, teacher: str, taught: Sequence[str] | None) -> None:
    """Check that a teacher knows the classes of its student.

    Args:
        where: how errors call the student.
        learned: its classes; None where they are not known.
        teacher: how errors call it.
        taught: its classes, likewise.

    Raises:
        LimbeckError: they are others.
    """
    if learned and taught and tuple(learned) != tuple(taught):
        raise LimbeckError(
            f"{where} learns {len(learned)} classes, its teacher {teacher} {len(taught)}, or others: "
            "give both the same data.source and data.classes"
        )


def outline(model: ModelSpec, classes: int = 10, channels: int = 3) -> nn.Module:
    """Build a network without memory or weights, to count and compare it."""
    plain = untrained(model)
    try:
        with torch.device("meta"):
            return build_model(plain, classes, channels)
    except NotImplementedError:
        # some, such as torchvision's RegNets, compute their widths by tensors
        with torch.random.fork_rng(devices=[]):
            return build_model(plain, classes, channels).to("meta")


def _refusal(relation: Relation, where: str, found: str) -> LimbeckError:
    asked = "the same network as" if relation == "same" else f"{relation} than"
    return LimbeckError(
        f"{where}: the teacher must be {asked} the student, but {found}: "
        "choose another network, or another method or teacher.relation"
    )


def _written(model: ModelSpec) -> str:
    options = ", ".join(f"{name} {option}" for name, option in model.options.items())
    return f"{model.name} ({options})" if options else model.name


def _shapes(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in network.state_dict().items()]
