"""Where rows live: in tensors beside the logits, in the host's memory or over mapped files; and whether they fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.memory.formats import Format
from limbeck.memory.sizes import PLACES, Layout, Place, formats, in_words

# What a device or a machine needs besides the bank: a bank that takes more of what is free is refused.
USABLE = 0.9


class Slot(NamedTuple):
    """The encoded rows of one epoch by example id, and which of them there are."""

    parts: tuple[Tensor, ...]
    there: Bool[Tensor, " rows"]

    @classmethod
    def empty(cls, layout: Layout, device: torch.device) -> Slot:
        """Return one of no rows."""
        columns = layout.format.columns(layout.classes)
        parts = tuple(torch.zeros(layout.examples, width, dtype=dtype, device=device) for width, dtype in columns)
        return cls(parts, torch.zeros(layout.examples, dtype=torch.bool, device=device))

    def to(self, device: torch.device) -> Slot:
        """Move all of it."""
        return self if self.there.device == device else self.map(lambda tensor: tensor.to(device))

    def map(self, change: Callable[[Tensor], Tensor]) -> Slot:
        """Return what `change` makes of each tensor."""
        return Slot(tuple(map(change, self.parts)), change(self.there))

    def gather(self, ids: Int[Tensor, " batch"]) -> Slot:
        """Return the rows of a batch."""
        return self.map(lambda tensor: tensor.index_select(0, ids))

    def scatter(self, ids: Int[Tensor, " batch"], parts: tuple[Tensor, ...]) -> None:
        """Put the rows of a batch in their places."""
        for column, rows in zip(self.parts, parts, strict=True):
            if column.device.type == "cpu":  # row by row, where index_copy_ goes entry by entry
                column.numpy()[ids.numpy()] = rows.numpy()
            else:
                column.index_copy_(0, ids, rows)
        self.there.index_fill_(0, ids, True)

    def copy_(self, other: Slot) -> None:
        """Take over the rows of another one."""
        for mine, theirs in zip((*self.parts, self.there), (*other.parts, other.there), strict=True):
            mine.copy_(theirs)


class Landing:
    """Rows on their way from a GPU to the host's memory: the copy is started here, and nobody waits for it yet.

    Args:
        ids: of the rows, on the GPU.
        parts: encoded rows.
    """

    def __init__(self, ids: Int[Tensor, " batch"], parts: tuple[Tensor, ...]) -> None:
        self._tensors = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in (ids, *parts)]
        for host, tensor in zip(self._tensors, (ids, *parts), strict=True):
            host.copy_(tensor, non_blocking=True)
        self._done: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record()

    def landed(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return ids and rows, when they are there."""
        self._done.synchronize()
        ids, *parts = self._tensors
        return ids, tuple(parts)


def check_ids(ids: Int[Tensor, " batch"], examples: int, *, once: bool) -> None:
    """Check the ids of a batch; reads the tensor.

    Args:
        ids: of the batch.
        examples: ids are below it.
        once: whether each may come only once.

    Raises:
        LimbeckError: names the id.
    """
    low, high = ids.aminmax()
    for wrong in (int(low), int(high)):
        if not 0 <= wrong < examples:
            raise LimbeckError(
                f"a batch has the example id {wrong} and the bank of past predictions ids 0 to {examples - 1}: "
                "pass examples=1 + the largest example id"
            )
    if once:
        ordered = ids.sort().values
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            raise LimbeckError(f"example {int(twice[0])} comes twice in one batch: its past prediction is one row")


def free_bytes(place: Place, device: torch.device, folder: Path | None) -> int | None:
    """Return how much is free in a home, or None where nobody can say (another GPU than CUDA's, another system)."""
    if place == "disk":
        return None if folder is None else shutil.disk_usage(_existing(folder)).free
    if place == "device" and device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return None if place == "device" and device.type != "cpu" else _free_memory()


def check_fits(
    place: Place, layout: Layout, device: torch.device, folder: Path | None, students: int, processes: int
) -> None:
    """Refuse banks that do not fit, before anything is allocated.

    Args:
        place: their home.
        layout: shape and format of each.
        device: of the logits.
        folder: where files would be.
        students: how many banks there are.
        processes: on this node; on a CPU and in RAM each has banks of its own.

    Raises:
        LimbeckError: names the sizes, and the homes and formats that would fit.
    """

    def needed(home: Place, kind: Format) -> int:
        own_memory = home == "ram" or (home == "device" and device.type == "cpu")
        return students * layout._replace(format=kind).bytes * (processes if own_memory else 1)

    def fits(home: Place, kind: Format) -> bool:
        free = free_bytes(home, device, folder)
        return free is None or needed(home, kind) <= USABLE * free

    if fits(place, layout.format):
        return
    others = [
        f"bank={home} in {kind} ({in_words(needed(home, kind))})"
        for home in PLACES
        for kind in formats(layout.classes)
        if (home != "disk" or folder is not None) and fits(home, kind)
    ]
    raise LimbeckError(
        f"the past predictions ({layout} each) need {in_words(needed(place, layout.format))} on bank={place}, where "
        f"{in_words(free_bytes(place, device, folder) or 0)} are free; what fits: {', '.join(others) or 'nothing here'}"
    )


def _free_memory() -> int | None:
    """Return the memory that can be had without swapping; the kernel's own estimate counts caches that it can drop."""
    estimate = Path("/proc/meminfo")
    if estimate.exists():
        for line in estimate.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
