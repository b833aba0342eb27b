"""How long an epoch's reading and writing of past predictions takes here: a short calibration, and an estimate from it.

Measured are the encoding, scattering, gathering and decoding of rows in memory, and of a disk the bandwidth and the
time to reach a page that is not in memory. Not counted: the forward pass itself, copies between a GPU and the host,
and what processes send to each other.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck.memory.homes import Slot
from limbeck.memory.sizes import Cost, Layout, Place

# Bytes that are written to find a bandwidth, of memory that is gathered from, rows in a batch, random pages read.
DISK_SAMPLE, MEMORY_SAMPLE, BATCH, PAGES = 1 << 27, 1 << 26, 128, 256
PAGE, BLOCK = 4096, 1 << 22


class DiskSpeed(NamedTuple):
    """What a disk does.

    Attributes:
        write: bytes a second, durably.
        read: bytes a second, of what is not in memory.
        reach: seconds to reach a random page that is not in memory.
    """

    write: float
    read: float
    reach: float


class RowSpeed(NamedTuple):
    """Seconds for one row: to encode and write it, and to read and decode it."""

    write: float
    read: float


def disk_speed(folder: Path) -> DiskSpeed:
    """Measure the disk of a folder, with a file that is removed at once.

    Raises:
        LimbeckError: the folder cannot be written to.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            handle, block = file.fileno(), np.random.default_rng(0).bytes(BLOCK)

            def write() -> None:
                for _ in range(DISK_SAMPLE // BLOCK):
                    file.write(block)
                file.flush()
                os.fsync(handle)

            def read() -> None:
                for start in range(0, DISK_SAMPLE, BLOCK):
                    os.pread(handle, BLOCK, start)

            def reach() -> None:
                pages = np.random.default_rng(0).choice(DISK_SAMPLE // PAGE, PAGES, replace=False)
                for page in pages.tolist():
                    os.pread(handle, PAGE, page * PAGE)

            written = DISK_SAMPLE / _seconds(write)
            _forget(handle, os.POSIX_FADV_SEQUENTIAL if hasattr(os, "POSIX_FADV_SEQUENTIAL") else None)
            fetched = DISK_SAMPLE / _seconds(read)
            _forget(handle, os.POSIX_FADV_RANDOM if hasattr(os, "POSIX_FADV_RANDOM") else None)
            return DiskSpeed(written, fetched, _seconds(reach) / PAGES)
    except OSError as error:
        raise LimbeckError(f"cannot measure the disk of {folder}: {error.strerror}") from error


def row_speed(layout: Layout, device: torch.device) -> RowSpeed:
    """Measure rows of a layout in memory, in a bank of its shape but of few rows."""
    row = layout.format.row_bytes(layout.classes)
    rows = max(BATCH, min(layout.examples, MEMORY_SAMPLE // row))
    slot = Slot.empty(layout._replace(examples=rows), device)
    said = torch.rand(BATCH, layout.classes, device=device).softmax(1)
    batches = [torch.randint(rows, (BATCH,), device=device) for _ in range(8)]

    def write() -> None:
        for ids in batches:
            slot.scatter(ids, layout.format.encode(said))
        _finish(device)

    def read() -> None:
        for ids in batches:
            layout.format.decode(slot.gather(ids).parts, layout.classes)
        _finish(device)

    each = BATCH * len(batches)
    # the first time, pages are made and kernels are loaded
    write()
    read()
    return RowSpeed(min(_seconds(write) for _ in range(3)) / each, min(_seconds(read) for _ in range(3)) / each)


def epoch_seconds(
    cost: Cost, rows: RowSpeed, disk: DiskSpeed, *, students: int, processes: int, free: int | None
) -> float:
    """Estimate what an epoch costs in time.

    Every example is written once and read once for each epoch of the window. On the disk, what fits into memory is read
    there and written back once; otherwise every row is reached on the disk.
    """
    layout = cost.layout
    number = layout.examples * students
    seconds = number * (rows.write + layout.window * rows.read) / processes
    if cost.place != "disk":
        return seconds
    row = layout.format.row_bytes(layout.classes)
    if free is None or cost.total <= free / 2:
        return seconds + number * row / disk.write
    reached = max(row, PAGE)
    writing = disk.reach + reached / disk.read + reached / disk.write
    return seconds + number * (writing + layout.window * (disk.reach + reached / disk.read))


def device_of(place: Place) -> torch.device:
    """Return where a home's rows are handled on this machine."""
    found = torch.accelerator.current_accelerator() if place == "device" and torch.accelerator.is_available() else None
    return torch.device("cpu") if found is None else found


def _seconds(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return max(time.perf_counter() - started, 1e-9)


def _finish(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def _forget(handle: int, pattern: int | None) -> None:
    """Drop a file from memory, where the system can be asked to, and say how it will be read."""
    if pattern is not None:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(handle, 0, 0, pattern)
