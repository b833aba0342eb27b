"""An epoch of a bank of ImageNet-1k's size on the disk, against a plain copy: part of `memory.py`."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from limbeck.core import Room
from limbeck.memory.bank import PredictionBank
from limbeck.memory.formats import Dense, TopK
from limbeck.memory.sizes import Layout, in_words

IMAGENET, IMAGENET_CLASSES, IMAGENET_BATCH = 1_281_167, 1000, 256
BLOCK = 1 << 24


def epochs_on_disk(rounds: int, folder: Path) -> list[str]:
    """Measure epochs of recall and record, in random order, against a sequential copy of one epoch's file."""
    kind = Dense("float16")
    said = [torch.randn(IMAGENET_BATCH, IMAGENET_CLASSES).softmax(1) for _ in range(64)]
    bank = PredictionBank(Room(IMAGENET, IMAGENET_CLASSES, folder), "disk", kind)
    before = resident()
    peak = dict(before)

    def epoch() -> None:
        order = torch.from_numpy(np.random.default_rng(bank.epoch).permutation(IMAGENET))
        for number, ids in enumerate(order.split(IMAGENET_BATCH)):
            new = said[number % len(said)][: len(ids)]
            bank.recall(ids, new)
            bank.record(ids, new)
            if number % 100 == 0:
                peak.update({name: max(peak[name], size) for name, size in resident().items()})

    for _ in range(2):  # files are made, both epochs' rows are written once
        epoch()
        bank.turn()
    file = next(folder.rglob("slot-0-values.bin"))
    size, rows = file.stat().st_size, []
    plain_copy(file, folder / "copy")
    for _ in range(rounds):
        copied, synced = plain_copy(file, folder / "copy")
        worked, closed = seconds(epoch), seconds(bank.turn)
        rows.append((copied, worked, copied / worked, synced, closed, (copied + synced) / (worked + closed)))
    lines = [
        f"{IMAGENET:,} × {IMAGENET_CLASSES} in {kind}, {in_words(size)} an epoch, batches of {IMAGENET_BATCH}, "
        f"whole epochs, {rounds} rounds:",
        "",
        "| copy, s | recall and record, s | share of the copy's rate | fsync, s | end of epoch, s | share, durable |",
        "|---|---|---|---|---|---|",
        *("| {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |".format(*row) for row in rows),
        "| " + " | ".join(f"**{statistics.median(column):.2f}**" for column in zip(*rows, strict=True)) + " |",
        "",
        "| memory of the process | before, MB | peak in an epoch, MB |",
        "|---|---|---|",
        *(f"| {name} | {before[name] / 1e6:,.0f} | {peak[name] / 1e6:,.0f} |" for name in before),
        "",
        "| format | one epoch's rows | both that are kept |",
        "|---|---|---|",
    ]
    for other in (kind, TopK(16), TopK(16, "float16")):
        layout = Layout(IMAGENET, IMAGENET_CLASSES, 1, other)
        lines.append(f"| {other} | {in_words(layout.bytes / layout.slots)} | {in_words(layout.bytes)} |")
    return lines


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain_copy(source: Path, target: Path) -> tuple[float, float]:
    """Copy a file block by block over the one that is there; return seconds of that, and to make it durable."""
    target.touch()
    block = memoryview(bytearray(BLOCK))
    with source.open("rb", buffering=0) as read, target.open("r+b", buffering=0) as write:
        started = time.perf_counter()
        while length := read.readinto(block):
            write.write(block[:length])
        copied = time.perf_counter()
        os.fsync(write.fileno())
        return copied - started, time.perf_counter() - copied


def resident() -> dict[str, int]:
    """Return the process's memory in bytes, as Linux counts it: its own, and pages of files, which can be dropped."""
    names = {"RssAnon": "its own", "RssFile": "mapped pages of files"}
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {names[line[0][:-1]]: int(line[1]) * 1024 for line in lines if line[0][:-1] in names}
