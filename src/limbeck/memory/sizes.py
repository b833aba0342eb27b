"""What a bank of past predictions takes, before any of it is there."""

from __future__ import annotations

from typing import Literal, NamedTuple

from limbeck.memory.formats import Dense, Format, TopK

Place = Literal["device", "ram", "disk"]
PLACES: tuple[Place, ...] = ("device", "ram", "disk")
# Entries of the compressed format that is offered as an alternative.
OFFERED_TOP_K = 10


class Layout(NamedTuple):
    """The shape of one bank.

    Attributes:
        examples: 1 + the largest example id.
        classes: entries of a row.
        window: how many past epochs are read; one more is being written.
        format: of a row.
    """

    examples: int
    classes: int
    window: int = 1
    format: Format = Dense()

    @property
    def slots(self) -> int:
        """How many epochs are kept, the begun one too."""
        return self.window + 1

    @property
    def bytes(self) -> int:
        """What all of it takes: of each example and kept epoch, a row and a byte that says whether it is there."""
        return self.slots * self.examples * (self.format.row_bytes(self.classes) + 1)

    def __str__(self) -> str:
        """Describe it in words."""
        return (
            f"{self.examples:,} examples × {self.classes:,} classes × {self.slots} epochs in {self.format}, "
            f"{in_words(self.bytes)}"
        )


class Cost(NamedTuple):
    """What one home and format cost on one node.

    Attributes:
        place: the home.
        layout: shape and format, of one student.
        per_process: bytes that each process holds.
        total: bytes on the node.
    """

    place: Place
    layout: Layout
    per_process: int
    total: int


def formats(classes: int) -> list[Format]:
    """Return the formats to choose from, the largest first."""
    offered: list[Format] = [Dense("float32"), Dense("float16")]
    if classes > 1:
        offered.append(TopK(min(OFFERED_TOP_K, classes - 1), "float16"))
    return offered


def costs(examples: int, classes: int, *, students: int = 1, window: int = 1, processes: int = 1) -> list[Cost]:
    """Return what every home and format costs: on the device and in RAM each process has all rows of its own."""
    found = []
    for place in PLACES:
        for kind in formats(classes):
            layout = Layout(examples, classes, window, kind)
            size = students * layout.bytes
            found.append(
                Cost(place, layout, 0, size) if place == "disk" else Cost(place, layout, size, size * processes)
            )
    return found


def in_words(size: int | float) -> str:
    """Return a number of bytes as people say it, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB" if size < 999.5 else f"{size:,.0f} TB"
