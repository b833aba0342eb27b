"""The encoded rows of the last epochs in one home: allocated, written, shared at an epoch's end, saved and taken up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.core.writer import Room
from limbeck.errors import LimbeckError
from limbeck.memory.disk import Disk
from limbeck.memory.homes import Landing, Slot, check_fits, check_ids
from limbeck.memory.processes import CHUNK, agreed, by_node, group_of, rank, share, world
from limbeck.memory.sizes import Layout, Place

HOST = torch.device("cpu")


class Store:
    """Slots of rows by example id; the epoch t has slot t % slots.

    Args:
        room: how many examples there are, and where files may be kept.
        home: where the rows are.
        layout: their shape and format.
        student: whose they are.
    """

    def __init__(self, room: Room, home: Place, layout: Layout, student: int) -> None:
        self.room, self.home, self.layout, self.student = room, home, layout, student
        self._slots: list[Slot] = []
        self._epochs: list[int | None] = [None] * layout.slots
        self._disk: Disk | None = None
        self._group: Any = None
        self._landing: Landing | None = None
        self._landing_in = 0
        self._checked = False

    def allocate(self, device: torch.device) -> None:
        """Make room for all rows, beside logits on `device`; a collective where files are made.

        Raises:
            LimbeckError: they do not fit, or files cannot be written.
        """
        if self.home == "disk":
            disk = self._files()
            agreed(partial(disk.create, self._counted) if self._leads else None)
            self._map(disk)
            return
        if self._counted:
            local = self.room.local_world
            check_fits(self.home, self.layout, device, self.room.folder, self._counted, local)
        place = device if self.home == "device" else HOST
        self._slots = [Slot.empty(self.layout, place) for _ in range(self.layout.slots)]

    def has(self, epoch: int) -> bool:
        """Say whether there are rows of an epoch."""
        return epoch >= 0 and self._epochs[self._slot_of(epoch)] == epoch

    def gather(self, epoch: int, ids: Int[Tensor, " batch"], device: torch.device) -> Slot:
        """Return rows of a batch, beside its logits."""
        found = self._slots[self._slot_of(epoch)].gather(self._here(ids))
        if device.type == "cuda" and found.there.device.type == "cpu":
            return found.map(lambda tensor: tensor.pin_memory().to(device, non_blocking=True))
        return found.to(device)

    def begin(self, epoch: int) -> None:
        """Empty the slot of an epoch; a collective."""
        if self._disk is None:
            self._slots[self._slot_of(epoch)].there.zero_()
        else:
            disk = self._disk
            agreed(partial(disk.begin, epoch) if self._leads else None)
        self._epochs[self._slot_of(epoch)] = epoch

    def scatter(self, epoch: int, ids: Int[Tensor, " batch"], parts: tuple[Tensor, ...]) -> None:
        """Keep rows of a batch; what is on its way from a GPU is written by the next call, or by `land`."""
        self.land()
        if self.home != "device" and ids.device.type == "cuda":
            self._landing, self._landing_in = Landing(ids, parts), self._slot_of(epoch)
            return
        here = self._here(ids, once=True)
        self._slots[self._slot_of(epoch)].scatter(here, tuple(part.to(here.device) for part in parts))
        self._checked = True

    def land(self) -> None:
        """Write the rows that were on their way from a GPU."""
        if self._landing is not None:
            ids, parts = self._landing.landed()
            self._landing = None
            check_ids(ids, self.room.examples, once=True)
            self._slots[self._landing_in].scatter(ids, parts)

    def close(self, epoch: int) -> None:
        """Complete an epoch: all who may see an example have its row, and rows of examples that were not seen stay."""
        self.land()
        present, disk = self._slots[self._slot_of(epoch)], self._disk
        if disk is None:
            self._exchange(present)
            self._carry_over(epoch)
            return

        def complete() -> None:
            self._carry_over(epoch)
            disk.close(epoch)

        agreed(None)  # all have written what they had
        self._exchange(present)
        agreed(complete if self._leads else None)

    def state(self, epoch: int) -> dict[str, Any]:
        """Return the rows before an epoch, and of it what all processes have recorded; a collective.

        On the disk, rows stay where they are: only what they must be is returned. Where examples stay on their process
        or node, so do their rows: they are gathered on the first process, and nothing is returned on the others.
        """
        self.land()
        past = [other for other in range(max(0, epoch - self.layout.window), epoch) if self.has(other)]
        disk, begun = self._disk, self.has(epoch)
        if disk is not None:
            agreed(None)  # all have written what they had
            agreed(disk.flush if self._leads else None)
            return {"disk": by_node(self.room.node, disk.facts(past) if self._leads else None), "begun": begun}
        slots = {other: self._slots[self._slot_of(other)] for other in (*past, *([epoch] if begun else []))}
        if world() > 1:
            for other in slots if self.room.shard is not None else [epoch] if begun else []:
                slots[other] = self._gathered(slots[other], whole=other == epoch)
        return {"slots": {other: (*slot.parts, slot.there) for other, slot in slots.items()}}

    def restore(self, state: Mapping[str, Any], epoch: int) -> None:
        """Take up what `state` returned, in whichever home; a collective.

        Raises:
            LimbeckError: files are missing, damaged, another run's, or held by another process.
        """
        if "disk" in state:
            self._adopt(state["disk"].get(self.room.node, {}), epoch if state["begun"] else None)
            return
        # of a begun epoch, one process holds what had been recorded by all that share their rows
        begins = rank() == 0 if self.room.shard is None else self._begins
        kept = {other: rows for other, rows in state["slots"].items() if other != epoch or begins}
        if self.home == "disk":
            self.allocate(HOST)
        else:
            self._slots = [Slot.empty(self.layout, HOST) for _ in range(self.layout.slots)]
        for other in state["slots"]:
            self.begin(other)
            if other in kept and (self._disk is None or self._leads):
                *parts, there = kept[other]
                self._slots[self._slot_of(other)].copy_(Slot(tuple(parts), self._own(there)))
            if self._disk is not None and other != epoch:
                agreed(partial(self._disk.close, other) if self._leads else None)

    def _adopt(self, digests: Mapping[int, str], begun: int | None) -> None:
        """Open the files that a checkpoint speaks of; in another home, copy them."""
        disk = self._files()
        agreed(partial(disk.adopt, digests, begun) if self._leads else None)
        self._map(disk)
        for epoch in (*digests, *([] if begun is None else [begun])):
            self._epochs[self._slot_of(epoch)] = epoch
        if self.home != "disk":
            self._disk = None
            copies = [slot.map(Tensor.clone) for slot in self._slots]
            self._slots = [slot._replace(there=self._own(slot.there)) for slot in copies]
            if begun is not None and not self._begins:
                self._slots[self._slot_of(begun)].there.zero_()

    def _exchange(self, rows: Slot) -> None:
        """Give each other the rows of examples that may be seen elsewhere in the next epoch; a collective."""
        shard, shared = self.room.shard, self.home == "disk"
        if world() == 1 or (shared and self.room.nodes == 1):
            return
        if shard is not None and (shared or shard.within == "process"):
            return
        if self._group is None and (shared or shard is not None):
            # one of each node speaks for all on its disk; in memory, those of a node may stay among themselves
            self._group = group_of(int(self._leads) if shared else self.room.node)
        if self._leads or not shared:
            share(rows, rows, self._group)

    def _own(self, there: Tensor) -> Tensor:
        """Keep of the rows that are there those that no other process will write; on the disk all."""
        if self.room.shard is None or self.home == "disk":
            return there
        mine = torch.zeros_like(there)
        mine[self.room.shard.ids] = True
        return there & mine

    @property
    def _leads(self) -> bool:
        """Whether this process writes its node's header."""
        return self.room.local_rank == 0

    @property
    def _begins(self) -> bool:
        """Whether this process goes on with what its node had recorded of a begun epoch."""
        shard = self.room.shard
        return self._leads or (shard is not None and shard.within == "process")

    @property
    def _counted(self) -> int:
        """How many banks this one's check of the free space stands for: the first student's for all, at the start."""
        return self.room.students if self.student == 0 else 0

    def _slot_of(self, epoch: int) -> int:
        return epoch % self.layout.slots

    def _here(self, ids: Tensor, *, once: bool = False) -> Tensor:
        """Return ids beside the rows, checked where that waits for nothing, and in the first step."""
        if self.home == "device" and self._slots[0].there.device != ids.device:
            self._slots = [slot.to(ids.device) for slot in self._slots]
        here = ids.to(self._slots[0].there.device)
        if here.device.type == "cpu" or not self._checked:
            check_ids(here, self.room.examples, once=once)
        return here

    def _files(self) -> Disk:
        if self.room.folder is None:
            raise LimbeckError("predictions on the disk need a folder: give the Objective Room(examples, folder=...)")
        place = self.room.folder / "bank" / f"student-{self.student}" / f"node-{self.room.node}"
        return Disk(place, self.layout, self.room.data, self.room.nodes)

    def _map(self, disk: Disk) -> None:
        disk.map()
        self._disk, self._slots = disk, disk.slots

    def _carry_over(self, epoch: int) -> None:
        """Keep the last epoch's rows of examples that this one has not seen."""
        if not self.has(epoch - 1):
            return
        before, present = self._slots[self._slot_of(epoch - 1)], self._slots[self._slot_of(epoch)]
        missing = (before.there & ~present.there).nonzero()[:, 0]
        for start in range(0, len(missing), CHUNK):
            ids = missing[start : start + CHUNK]
            present.scatter(ids, before.gather(ids).parts)

    def _gathered(self, rows: Slot, *, whole: bool) -> Slot:
        """Return everyone's rows; where they stay apart, on the first process alone. A collective.

        Args:
            rows: what this process has.
            whole: whether the processes of a node have different ones.
        """
        shard = self.room.shard
        waits = shard is None or rank() == 0
        everyones = Slot.empty(self.layout if waits else self.layout._replace(examples=0), HOST)
        if shard is None:
            share(rows, everyones)
            return everyones
        if shard.within == "node" and not whole and not self._leads:
            rows = rows._replace(there=torch.zeros_like(rows.there))
        share(rows, everyones if rank() == 0 else None, first_only=True)
        return everyones
