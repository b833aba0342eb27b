"""What a bank of past predictions takes, before any of it is there."""

from __future__ import annotations

from typing import Literal, NamedTuple

from limbeck.core.shard import Shuffle
from limbeck.memory.formats import Dense, Format, Precision, TopK

Place = Literal["device", "ram", "disk"]
PLACES: tuple[Place, ...] = ("device", "ram", "disk")
# Of an example's id, which travels with its row.
ID_BYTES = 4
# Entries of the compressed format that is offered as an alternative.
OFFERED_TOP_K = 10
# Bytes of the checksum of a teacher's answer, which also says that it is there.
CHECKSUM = 8


class Layout(NamedTuple):
    """The shape of one bank.

    Attributes:
        examples: 1 + the largest example id.
        classes: entries of a row.
        window: how many past epochs are read; one more is being written.
        format: of a row.
        beside: bytes beside each row, which say whether it is there.
    """

    examples: int
    classes: int
    window: int = 1
    format: Format = Dense()
    beside: int = 1

    @property
    def slots(self) -> int:
        """How many epochs are kept, the begun one too."""
        return self.window + 1

    @property
    def bytes(self) -> int:
        """What all of it takes: of each example and kept epoch, a row and what says whether it is there."""
        return self.slots * self.examples * (self.format.row_bytes(self.classes) + self.beside)

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


def cached(classes: int) -> list[tuple[Precision, int | None]]:
    """Return the formats of a teacher's answers to choose from, as `teacher.cache_dtype` and `teacher.cache_top_k`."""
    top_k = min(OFFERED_TOP_K, classes - 1)
    return [("float32", None), ("float16", None), ("float32", top_k), ("float16", top_k)]


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


def answers_layout(rows: int, classes: int, cycle: int, format: Format) -> Layout:
    """Return the shape of a teacher's cache.

    Args:
        rows: of an epoch: examples × views of each.
        classes: entries of a row.
        cycle: epochs after which views come again.
        format: of a row of logits.
    """
    return Layout(rows, classes, cycle - 1, format, CHECKSUM)


class Traffic(NamedTuple):
    """What a process sends to others of one student's rows: on the disk its node's first process, in memory each.

    Attributes:
        epoch: bytes at the end of an epoch.
        checkpoint: bytes to the first process for a checkpoint between two epochs.
    """

    epoch: int
    checkpoint: int


def traffic(layout: Layout, place: Place, shuffle: Shuffle, *, processes: int = 1, nodes: int = 1) -> Traffic:
    """Return the bytes that a process sends where every example is seen once an epoch.

    A gathering of the rows of m processes takes each process's to the m - 1 others: n (m - 1) / m rows that each sends,
    whether that is done once an epoch or once a step. In a checkpoint within an epoch, what has been recorded of it is
    gathered as well.

    Args:
        layout: of the bank.
        place: its home.
        shuffle: how far examples move between epochs.
        processes: on each node.
        nodes: machines.
    """
    row = layout.format.row_bytes(layout.classes) + ID_BYTES
    apart = {"global": 1, "node": nodes, "process": nodes * processes}[shuffle]
    speaking = nodes if place == "disk" else nodes * processes
    gathering = max(1, speaking // apart)
    rows = layout.examples / apart
    sends = round(rows * (gathering - 1) / gathering * row)
    return Traffic(sends, 0 if place == "disk" or apart == 1 else round(layout.window * rows * row))


def in_words(size: int | float) -> str:
    """Return a number of bytes as people say it, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB" if size < 999.5 else f"{size:,.0f} TB"
