"""The networks of a stage that learn together: its model, the copies that its method wants, and its peers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BeforeValidator
from torch import nn

from limbeck.core.config import Named, configurable
from limbeck.core.writer import TargetWriter
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.teachers.teacher import Model
from limbeck.train.optimisers import OPTIMISERS, OptimiserChoice


@configurable
class Peer:
    """Another student, trained together with the first.

    Attributes:
        model: the network.
        optimiser: with its learning rate, of the same kind as the first student's; None is the first student's.
    """

    model: Model
    optimiser: Annotated[OptimiserChoice, Named(OPTIMISERS)] | None = None


def _read_peer(value: Any) -> Any:
    """Take a peer as its network alone."""
    named = isinstance(value, str) or (isinstance(value, dict) and "name" in value)
    return {"model": value} if named else value


PeerChoice = Annotated[Peer, BeforeValidator(_read_peer)]


def specs(model: ModelSpec, peers: tuple[Peer, ...], method: TargetWriter) -> list[ModelSpec]:
    """Return every network of a stage that is built.

    Raises:
        ValueError: there are too few for the method, or peers where it makes its own.
    """
    copies, wanted, name = method.needs.copies, method.needs.students, type(method).__name__
    if copies > 1 and peers:
        raise ValueError(f"{name} makes its own students of one network: leave peers out")
    found = [model] * copies + [peer.model for peer in peers]
    if len(found) < wanted:
        raise ValueError(
            f"{name} teaches at least {wanted} students together, here is {len(found)}: name the others in peers"
        )
    return found


def build_students(models: list[ModelSpec], classes: int, channels: int, seed: int) -> list[nn.Module]:
    """Build the networks, each from a seed of its own; the first one is what it would be alone."""
    networks = []
    for i, model in enumerate(models):
        # the CPU's generator takes 32 bits
        torch.manual_seed(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]) if i else seed)
        networks.append(build_model(model, classes, channels))
    return networks


def one_of(networks: Sequence[ModelSpec], student: int | None, where: str, field: str) -> ModelSpec:
    """Return the network of a stage that another stage asks for.

    Args:
        networks: of the stage.
        student: which one, or None.
        where: how errors call who asks, and the stage.
        field: of the recipe, by which it asks.

    Raises:
        LimbeckError: there are several, and it is not said which one; or no such one.
    """
    if (student is None) != (len(networks) == 1) or (student or 0) >= len(networks):
        asked = f"choose one by {field}.student, 0 to {len(networks) - 1}"
        mend = f"leave {field}.student out" if len(networks) == 1 else asked
        raise LimbeckError(f"{where} has {len(networks)} student(s): {mend}")
    return networks[student or 0]
