"""A row of class probabilities per training example: what the network said of it in the epochs before.

The epoch with the number t, counted by `turn`, writes slot t % (window + 1) and reads the others. So rows that are
recorded in an epoch are recalled from the next one on: who reads a row, its own example or one that is mixed with it,
never depends on what came first, a killed epoch is repeated to the same bits, and processes need not talk during one.

State memory: (window + 1) × examples × (bytes of a row in its format + 1), for each student. On the device and in RAM
every process holds that, and an epoch's end sends the rows of one epoch around once, in chunks. On the disk the
processes of a node share one set of files, and only nodes send rows to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limbeck.core.writer import Room
from limbeck.errors import LimbeckError
from limbeck.memory.formats import Dense, Format
from limbeck.memory.sizes import Layout, Place
from limbeck.memory.store import Store


class PredictionBank:
    """Rows by example id, allocated when the first one arrives.

    Args:
        room: how many examples there are, and where files may be kept.
        home: "device" keeps the rows beside the logits, "ram" in the host's memory, "disk" in memory-mapped files. The
            same format in another home is the same training, bit by bit.
        format: of a row.
        window: how many past epochs are read.
        weights: of these epochs, the last one first; equal where they are left out.
        average: the share of what is recalled in what is recorded.
        student: which of the cohort's this is of.

    Raises:
        LimbeckError: there is not one weight for each epoch of the window.
    """

    def __init__(
        self,
        room: Room,
        home: Place = "device",
        format: Format = Dense(),  # noqa: B008
        *,
        window: int = 1,
        weights: Sequence[float] | None = None,
        average: float = 0.0,
        student: int = 0,
    ) -> None:
        if weights is not None and len(weights) != window:
            raise LimbeckError(f"a window of {window} epochs needs as many weights, and there are {len(weights)}")
        self.room, self.home, self.format, self.average, self.student = room, home, format, average, student
        self.window, self.weights = window, tuple(weights or (1.0,) * window)
        self.epoch = 0
        self._store: Store | None = None

    def recall(
        self, ids: Int[Tensor, " batch"], otherwise: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the weighted mean of the past epochs' rows, and the row of `otherwise` for an example that has none.

        Raises:
            LimbeckError: an id is out of range (on a GPU this is seen in the first step alone).
        """
        store = self._store
        if store is None:
            return otherwise
        self._check_classes(store, otherwise)
        found: list[tuple[float, Tensor, Tensor]] = []
        for back, share in enumerate(self.weights, 1):
            if store.has(self.epoch - back):
                slot = store.gather(self.epoch - back, ids, otherwise.device)
                found.append((share, self.format.decode(slot.parts, otherwise.shape[1]), slot.there[:, None]))
        if not found:
            return otherwise
        if self.window == 1:
            _, rows, there = found[0]
            if there.device.type == "cpu" and bool(there.all()):  # a host's own tensor: nobody waits for a GPU
                return rows
            return torch.where(there, rows, otherwise)
        total, weight = torch.zeros_like(otherwise), otherwise.new_zeros(len(ids), 1)
        for share, rows, there in found:
            total, weight = total + share * torch.where(there, rows, 0.0), weight + share * there
        return torch.where(weight > 0, total / weight.clamp_min(torch.finfo(weight.dtype).tiny), otherwise)

    def record(
        self,
        ids: Int[Tensor, " batch"],
        probabilities: Float[Tensor, "batch classes"],
        own: Bool[Tensor, " batch"] | None = None,
        otherwise: Float[Tensor, "batch classes"] | None = None,
    ) -> None:
        """Keep these rows for the next epoch.

        Args:
            ids: whose rows they are, each at most once.
            probabilities: what was said.
            own: where it was said of the example itself, elsewhere the last epoch's row stays; None for all.
            otherwise: with `own`, what stays where the last epoch has no row.

        Raises:
            LimbeckError: an id is out of range or comes twice (on a GPU this is seen in the first step alone); there
                are other classes than before; the bank does not fit, or its files cannot be written.
        """
        said = probabilities.detach().float()
        store = self._opened(said)
        self._check_classes(store, said)
        if self.average:
            said = torch.lerp(said, self.recall(ids, said), self.average)
        parts = self.format.encode(said)
        if own is not None and otherwise is not None:
            older = self.format.encode(otherwise)
            if store.has(self.epoch - 1):
                kept, there = store.gather(self.epoch - 1, ids, said.device)
                older = _chosen(there, kept, older)
            parts = _chosen(own, parts, older)
        if not store.has(self.epoch):
            store.begin(self.epoch)
        store.scatter(self.epoch, ids, parts)

    def turn(self) -> None:
        """Close an epoch: what was recorded on any process becomes the past on all. A collective."""
        if self._store is not None:
            if not self._store.has(self.epoch):
                self._store.begin(self.epoch)  # not one row: all of the last epoch's stay
            self._store.close(self.epoch)
        self.epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the past, and within an epoch what all processes have recorded of it; every process must call this.

        On the disk, rows stay where they are: only what they must be is returned.
        """
        if self._store is None:
            return {"epoch": self.epoch}
        examples, classes, window, kind, _ = self._store.layout
        about = {"examples": examples, "classes": classes, "window": window, "format": str(kind)}
        return {"epoch": self.epoch, **about, **self._store.state(self.epoch)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state of a bank with as many examples, in the same format, from any home; a collective.

        Raises:
            LimbeckError: it is another bank's; its files are missing, damaged, or held by another process.
        """
        self.epoch, self._store = state["epoch"], None
        if "classes" in state:
            wanted = {"examples": self.room.examples, "window": self.window, "format": str(self.format)}
            for name, mine in wanted.items():
                if state[name] != mine:
                    raise LimbeckError(f"the saved predictions have {name} {state[name]}, and here it is {mine}")
            self._store = self._new(state["classes"])
            self._store.restore(state, self.epoch)

    def _opened(self, like: Tensor) -> Store:
        """Return the store, allocated at the first row."""
        if self._store is None:
            store = self._new(like.shape[1])
            store.allocate(like.device)
            self._store = store
        return self._store

    def _new(self, classes: int) -> Store:
        return Store(self.room, self.home, Layout(self.room.examples, classes, self.window, self.format), self.student)

    @staticmethod
    def _check_classes(store: Store, rows: Tensor) -> None:
        if store.layout.classes != rows.shape[1]:
            raise LimbeckError(f"the prediction bank has {store.layout.classes} classes, the network {rows.shape[1]}")


def _chosen(where: Tensor, these: tuple[Tensor, ...], those: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(where[:, None], this, that) for this, that in zip(these, those, strict=True))
