"""A row of class probabilities per training example: what the network last said of it.

Each example is visited once an epoch, and its row is read before it is written, so a row read in epoch t was written
in epoch t-1 and processes need not talk during an epoch: each writes the rows of its own examples, and one collective
at the end of the epoch (or before a checkpoint) merges them. Memory: examples × classes × 4 bytes, on the device of
the logits or in RAM, on every process.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed

from limbeck.errors import LimbeckError


class PredictionBank:
    """Dense float32 rows by example id, allocated when the first row arrives.

    Args:
        examples: how many ids there are (1 + the largest).
        home: "device" keeps the rows beside the logits, "ram" in the host's memory (each step then waits for copies).
    """

    def __init__(self, examples: int, home: Literal["device", "ram"]) -> None:
        self.examples, self.home = examples, home
        self.rows: Float[Tensor, "examples classes"] | None = None
        self.known: Bool[Tensor, " examples"] | None = None
        self._fresh: Bool[Tensor, " examples"] | None = None

    def recall(
        self, ids: Int[Tensor, " batch"], otherwise: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the rows of these examples, and the row of `otherwise` where nothing was recorded yet."""
        if self.rows is None or self.known is None:
            return otherwise
        rows, known = self._move_to(otherwise)
        here = ids.to(rows.device)
        found = rows.index_select(0, here).to(otherwise.device)
        return torch.where(known.index_select(0, here).to(otherwise.device)[:, None], found, otherwise)

    def record(self, ids: Int[Tensor, " batch"], probabilities: Float[Tensor, "batch classes"]) -> None:
        """Write these examples' rows."""
        if self.rows is None:
            self._allocate(probabilities)
        rows, known = self._move_to(probabilities)
        if rows.shape[1] != probabilities.shape[1]:
            raise LimbeckError(f"the prediction bank has {rows.shape[1]} classes, the network {probabilities.shape[1]}")
        assert self._fresh is not None
        here = ids.to(rows.device)
        rows.index_copy_(0, here, probabilities.detach().to(rows.device, torch.float32))
        known.index_fill_(0, here, True)
        self._fresh.index_fill_(0, here, True)

    def merge(self) -> None:
        """Give every process the rows that the others wrote since the last merge; a collective."""
        if self.rows is None or self.known is None or self._fresh is None:
            return
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            written = self._fresh.to(torch.int32)
            mine = torch.where(self._fresh[:, None], self.rows, torch.zeros((), device=self.rows.device))
            distributed.all_reduce(written)
            distributed.all_reduce(mine)
            self.rows = torch.where(written[:, None] > 0, mine, self.rows)
            self.known = self.known | (written > 0)
        self._fresh.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the merged rows; every process must call it."""
        self.merge()
        return {} if self.rows is None else {"rows": self.rows, "known": self.known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up rows of a bank with as many examples."""
        if not state:
            self.rows = self.known = self._fresh = None
            return
        if len(state["rows"]) != self.examples:
            raise LimbeckError(f"the saved bank has {len(state['rows'])} examples, the data {self.examples}")
        self.rows, self.known = state["rows"].clone(), state["known"].clone()
        self._fresh = torch.zeros_like(self.known)

    def _allocate(self, like: Tensor) -> None:
        device = like.device if self.home == "device" else torch.device("cpu")
        self.rows = torch.zeros(self.examples, like.shape[1], device=device)
        self.known = torch.zeros(self.examples, dtype=torch.bool, device=device)
        self._fresh = torch.zeros_like(self.known)

    def _move_to(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Bring a freshly loaded bank home; afterwards nothing moves."""
        assert self.rows is not None
        assert self.known is not None
        assert self._fresh is not None
        device = like.device if self.home == "device" else torch.device("cpu")
        if self.rows.device != device:
            self.rows, self.known, self._fresh = (t.to(device) for t in (self.rows, self.known, self._fresh))
        return self.rows, self.known
