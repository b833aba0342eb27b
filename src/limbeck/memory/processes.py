"""What several processes do together: agree, and share the rows that each has recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed

from limbeck.errors import LimbeckError
from limbeck.memory.homes import Slot
from limbeck.memory.sizes import ID_BYTES

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


def group_of(number: int) -> Any:
    """Return the group of the processes that give the same number. A collective of all."""
    given: list[Any] = [None] * world()
    distributed.all_gather_object(given, number)
    groups = {
        each: distributed.new_group([member for member, its in enumerate(given) if its == each])
        for each in sorted(set(given))
    }
    return groups[number]


def by_node(node: int, facts: Any) -> dict[int, Any]:
    """Return what the processes say of their nodes, those that say nothing left out. A collective."""
    told: list[Any] = [(node, facts)]
    if world() > 1:
        told = [None] * world()
        distributed.all_gather_object(told, (node, facts))
    return {number: said for number, said in told if said is not None}


def share(mine: Slot, into: Slot | None, group: Any = None, *, first_only: bool = False) -> None:
    """Put the rows of all processes of a group into `into`, which may be `mine`. A collective.

    Rows, with their ids, travel as they are encoded, in one collective for so many that all of them are `CHUNK`. See
    `sizes.traffic` for the bytes. A row that several processes have is that of the first.

    Args:
        mine: what this process has.
        into: where everyone's go; None where this process only sends.
        group: of processes; None for all.
        first_only: the first process of all gets them, and nobody else.
    """
    members = distributed.get_world_size(group)
    if members == 1 and mine is into:
        return
    device = torch.device("cuda") if distributed.get_backend(group) == "nccl" else torch.device("cpu")
    ids = mine.there.nonzero()[:, 0]
    lengths = _everyones(torch.tensor([len(ids)], device=device), group)
    counts = [int(length) for length in torch.cat(lengths).tolist()]
    step = max(1, CHUNK // members)
    for start in range(0, max(counts), step):
        piece = ids[start : start + step]
        parcel = _packed(piece, mine).to(device)
        missing = min(step, max(counts) - start) - len(piece)
        parcel = torch.cat([parcel, parcel.new_zeros(missing, parcel.shape[1])])
        received = _everyones(parcel, group, first_only=first_only)
        if into is None:
            continue
        # the first one's last: it stays
        for rows, count in zip(reversed(received), reversed(counts), strict=True):
            into.scatter(*_unpacked(rows[: max(0, min(step, count - start))], into))


def _everyones(tensor: Tensor, group: Any, *, first_only: bool = False) -> list[Tensor]:
    """Return the tensors of a group's processes, all of one shape; with `first_only` on the first process alone."""
    members = range(distributed.get_world_size(group))
    if first_only and distributed.get_rank() != 0:
        distributed.gather(tensor, dst=0, group=group)
        return []
    received = [torch.empty_like(tensor) for _ in members]
    if first_only:
        distributed.gather(tensor, received, dst=0, group=group)
    else:
        distributed.all_gather(received, tensor, group)
    return received


def _packed(ids: Tensor, slot: Slot) -> Tensor:
    """Return rows with their ids as bytes: no backend knows 16-bit integers."""
    columns = [ids.to(torch.int32)[:, None], *slot.gather(ids).parts]
    return torch.cat([column.contiguous().view(torch.uint8) for column in columns], 1)


def _unpacked(rows: Tensor, like: Slot) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return ids and rows again, beside a slot's."""
    here = rows.to(like.there.device)
    widths = [ID_BYTES, *(part.shape[1] * part.element_size() for part in like.parts)]
    dtypes = [torch.int32, *(part.dtype for part in like.parts)]
    ids, *parts = (
        column.clone(memory_format=torch.contiguous_format).view(dtype)
        for column, dtype in zip(torch.split(here, widths, 1), dtypes, strict=True)
    )
    return ids[:, 0].long(), tuple(parts)
