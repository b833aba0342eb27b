"""What students said of each example in the epochs before: a bank each, read and recorded unit by unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limbeck.core.batch import Units
from limbeck.core.cohort import Cohort
from limbeck.core.writer import Room, Step
from limbeck.memory.bank import PredictionBank
from limbeck.memory.formats import Format
from limbeck.memory.sizes import Layout, Place, in_words, traffic


@runtime_checkable
class Memory(Protocol):
    """What a method remembers of the students' past."""

    def past(self, step: Step) -> list[Float[Tensor, "units classes"]]:
        """Return what each student is remembered to have said of its units; the label where nothing is."""
        ...

    def after(self, step: Step) -> None:
        """Remember what this step's forward said."""
        ...

    def after_epoch(self, cohort: Cohort) -> None:
        """Close an epoch; a collective."""
        ...

    def describe(self) -> str:
        """Say in one line what is kept, and where."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered; every process must call this."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what was remembered."""
        ...


class Predictions:
    """Each student's predictions, in banks.

    Args:
        room: how many examples and students there are, and where files may be kept.
        home: where rows live.
        format: of a row.
        window: how many past epochs are read.
        weights: of these epochs, the last one first.
        average: the share of what is recalled in what is recorded.
    """

    def __init__(
        self,
        room: Room,
        home: Place,
        format: Format,
        window: int,
        weights: Sequence[float] | None,
        average: float,
    ) -> None:
        self.room, self.home = room, home
        self.banks = [
            PredictionBank(room, home, format, window=window, weights=weights, average=average, student=student)
            for student in range(room.students)
        ]

    def past(self, step: Step) -> list[Float[Tensor, "units classes"]]:
        """Return the rows of each student's units, the label where there is none yet; mixed as the labels are mixed."""
        return [_past(units, bank) for units, bank in zip(step.students, self.banks, strict=True)]

    def after(self, step: Step) -> None:
        """Record the softmax of each student's logits; of a mixed image only where at least half of it is its own."""
        for units, bank in zip(step.students, self.banks, strict=True):
            said = units.logits.detach().float().softmax(-1)
            if units.mix is None:
                bank.record(units.ids, said)
            else:
                bank.record(units.ids, said, units.mix.weight >= 0.5, one_hot(units.labels, said))

    def after_epoch(self, cohort: Cohort) -> None:
        """Share the rows among the processes."""
        for bank in self.banks:
            bank.turn()

    def describe(self) -> str:
        """Say what the banks take, as far as it is known before the first step."""
        bank, room = self.banks[0], self.room
        if room.classes is None:
            return ""
        layout = Layout(room.examples, room.classes, bank.window, bank.format)
        where = {"device": "on the device", "ram": "in RAM", "disk": f"in {room.folder}/bank"}[self.home]
        each = f", for each of {room.students} students" if room.students > 1 else ""
        alone = ", on every process" if room.local_world * room.nodes > 1 and self.home != "disk" else ""
        return f"past predictions {where}: {layout}{each}{alone}{self._sending(layout)}"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows of each student."""
        return {"banks": [bank.state_dict() for bank in self.banks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the rows of each student."""
        for bank, rows in zip(self.banks, state["banks"], strict=True):
            bank.load_state_dict(rows)

    def _sending(self, layout: Layout) -> str:
        """Say what processes send to each other."""
        room = self.room
        if room.local_world * room.nodes == 1:
            return ""
        shuffle = "global" if room.shard is None else room.shard.within
        epoch, checkpoint = traffic(layout, self.home, shuffle, processes=room.local_world, nodes=room.nodes)
        sent = "; nothing of them is sent"
        if epoch:
            who = "the first of each node" if self.home == "disk" else "each"
            sent = f"; {who} sends {in_words(room.students * epoch)}"
            sent += " an epoch" + (f" ({in_words(room.students * epoch / room.steps)} a step)" if room.steps else "")
        return sent + (f", and {in_words(room.students * checkpoint)} for a checkpoint" if checkpoint else "")


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Return the labels as rows of probabilities."""
    return functional.one_hot(labels, like.shape[1]).to(like.dtype)


def _past(units: Units, bank: PredictionBank) -> Float[Tensor, "units classes"]:
    like = units.logits.detach().float()
    own = bank.recall(units.ids, one_hot(units.labels, like))
    if units.mix is None:
        return own
    partner = bank.recall(units.mix.ids, one_hot(units.mix.labels, like))
    return torch.lerp(partner, own, units.mix.weight.to(own.dtype)[:, None])
