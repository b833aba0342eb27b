"""What several processes do together: agree, and share the rows that each has recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from limbeck.errors import LimbeckError
from limbeck.memory.homes import Slot

# Rows that travel in one collective: bounds what it needs besides the bank.
CHUNK = 1 << 16


def world() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this is."""
    return distributed.get_rank() if world() > 1 else 0


def agreed(act: Callable[[], None] | None) -> None:
    """Do something on the processes that have something to do, and wait for all. A collective.

    Raises:
        LimbeckError: on every process, what went wrong on any.
    """
    if world() == 1:
        if act is not None:
            act()
        return
    mistake = None
    try:
        if act is not None:
            act()
    except (LimbeckError, OSError) as error:
        mistake = str(error)
    told: list[Any] = [None] * world()
    distributed.all_gather_object(told, mistake)
    if found := [text for text in told if text is not None]:
        raise LimbeckError(found[0])


def everywhere(holds: bool) -> bool:
    """Return whether something holds on all processes. A collective."""
    if world() == 1:
        return holds
    found: list[Any] = [None] * world()
    distributed.all_gather_object(found, holds)
    return all(found)


def group_of(leads: bool) -> Any:
    """Return the group of the processes that lead their node. A collective of all."""
    leading: list[Any] = [None] * world()
    distributed.all_gather_object(leading, leads)
    return distributed.new_group([number for number, wanted in enumerate(leading) if wanted])


def share(mine: Slot, into: Slot, group: Any = None) -> None:
    """Put the rows of all processes of a group into `into`, which may be `mine`. A collective.

    Each sends, in all: its rows' bytes once over (those of 16-bit integers twice), and 5 bytes an example. A row that
    several processes have is that of the first.
    """
    device = torch.device("cuda") if distributed.get_backend(group) == "nccl" else torch.device("cpu")
    me = distributed.get_rank()
    nobody = distributed.get_world_size()
    for start in range(0, len(mine.there), CHUNK):
        piece = slice(start, start + CHUNK)
        owner = torch.where(mine.there[piece], me, nobody).to(device, torch.int32)
        distributed.all_reduce(owner, distributed.ReduceOp.MIN, group)
        sent = (owner == me).to(mine.there.device)[:, None]
        for ours, all_of_them in zip(mine.parts, into.parts, strict=True):
            rows = torch.where(sent, ours[piece], 0)
            # no backend adds 16-bit integers
            rows = rows.to(device, torch.int32 if rows.dtype == torch.int16 else rows.dtype)
            distributed.all_reduce(rows, group=group)
            all_of_them[piece] = rows.to(all_of_them.device, all_of_them.dtype)
        into.there[piece] = (owner < nobody).to(into.there.device)
