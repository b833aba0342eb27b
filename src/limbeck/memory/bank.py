"""A row of class probabilities per training example: what the network said of it in the epoch before.

Rows that are recorded in an epoch are recalled from the next one on: who reads a row, its own example or one that is
mixed with it, never depends on what came first. So processes need not talk during an epoch: each records the rows of
its own examples, and one collective at its end shares them. Memory: 2 × examples × classes × 4 bytes, on the device of
the logits or in RAM, on every process.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed

from limbeck.errors import LimbeckError

# Rows that travel in one collective: bounds what it needs besides the bank.
CHUNK = 1 << 16


class Rows(NamedTuple):
    """Rows by example id, and which of them there are."""

    values: Float[Tensor, "examples classes"]
    there: Bool[Tensor, " examples"]

    def to(self, device: torch.device) -> Rows:
        """Move both."""
        return self if self.values.device == device else Rows(self.values.to(device), self.there.to(device))


class PredictionBank:
    """Dense float32 rows by example id, allocated when the first row arrives.

    Args:
        examples: how many ids there are (1 + the largest).
        home: "device" keeps the rows beside the logits, "ram" in the host's memory (each step then waits for copies).
    """

    def __init__(self, examples: int, home: Literal["device", "ram"]) -> None:
        self.examples, self.home = examples, home
        self.past: Rows | None = None
        self.present: Rows | None = None

    def recall(
        self, ids: Int[Tensor, " batch"], otherwise: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the rows of the epoch before, and the row of `otherwise` for an example that has none."""
        if self.past is None:
            return otherwise
        self.past = self.past.to(self._place(otherwise))
        here = ids.to(self.past.values.device)
        found = self.past.values.index_select(0, here).to(otherwise.device)
        there = self.past.there.index_select(0, here).to(otherwise.device)
        return torch.where(there[:, None], found, otherwise)

    def record(self, ids: Int[Tensor, " batch"], probabilities: Float[Tensor, "batch classes"]) -> None:
        """Keep these rows for the next epoch."""
        if self.present is None:
            self.present = self._empty(probabilities.shape[1], self._place(probabilities))
        self.present = self.present.to(self._place(probabilities))
        values, there = self.present
        if values.shape[1] != probabilities.shape[1]:
            raise LimbeckError(
                f"the prediction bank has {values.shape[1]} classes, the network {probabilities.shape[1]}"
            )
        here = ids.to(values.device)
        values.index_copy_(0, here, probabilities.detach().to(values.device, torch.float32))
        there.index_fill_(0, here, True)

    def turn(self) -> None:
        """Close an epoch: what was recorded on any process becomes the past on all. A collective."""
        if self.present is None:
            return
        now = self._shared(self.present)
        if self.past is None:
            self.past = self._empty(now.values.shape[1], now.values.device)
        self.past = self.past.to(now.values.device)
        self.past.values.copy_(torch.where(now.there[:, None], now.values, self.past.values))
        self.past.there.logical_or_(now.there)
        self.present.there.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the past, and within an epoch what all processes have recorded of it; every process must call this."""
        state: dict[str, Any] = {}
        if self.past is not None:
            state["past"] = tuple(self.past)
        if self.present is not None and (shared := self._shared(self.present)).there.any():
            state["present"] = tuple(shared)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up rows of a bank with as many examples."""
        loaded = {name: Rows(*(tensor.clone() for tensor in rows)) for name, rows in state.items()}
        for rows in loaded.values():
            if len(rows.values) != self.examples:
                raise LimbeckError(f"the saved bank has {len(rows.values)} examples, the data {self.examples}")
        self.past, self.present = loaded.get("past"), loaded.get("present")
        if self.present is not None and _processes() > 1 and distributed.get_rank() > 0:
            self.present.there.zero_()  # the first process holds what all had recorded

    def _place(self, like: Tensor) -> torch.device:
        return like.device if self.home == "device" else torch.device("cpu")

    def _empty(self, classes: int, device: torch.device) -> Rows:
        rows = torch.zeros(self.examples, classes, device=device)
        return Rows(rows, torch.zeros(self.examples, dtype=torch.bool, device=device))

    def _shared(self, mine: Rows) -> Rows:
        """Return the rows of all processes, each of which has other examples."""
        if _processes() == 1:
            return mine
        device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
        values, there = torch.zeros_like(mine.values), mine.there.to(device, torch.uint8)
        for start in range(0, self.examples, CHUNK):
            piece = slice(start, start + CHUNK)
            rows = torch.where(mine.there[piece, None], mine.values[piece], 0.0).to(device)
            distributed.all_reduce(rows)
            values[piece] = rows.to(values.device)
        distributed.all_reduce(there)
        return Rows(values, there.to(mine.there.device, torch.bool))


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
