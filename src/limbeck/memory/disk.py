"""Rows in memory-mapped files: one set for each student and node, shared by the node's processes.

    bank/student-0/node-0/
      header.json             shape, format, data, and of each slot its epoch and, once it is closed, its checksums
      slot-0-values.bin       float [examples, width]
      slot-0-classes.bin      of the top-k formats: their classes, int [examples, k]
      slot-0-there.bin        which rows there are, bool [examples]
      slot-1-values.bin ...

Files are allocated whole before the first row, so that a full disk is found then. A slot is written in one epoch alone
and only read in the next ones; the header says which before the first of its rows is written. So a killed run finds
the rows of past epochs as they were, and writes those of the begun one again, to the same bits.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.memory.homes import Slot, check_fits
from limbeck.memory.sizes import Layout

VERSION = 1
BLOCK = 1 << 24
COLUMNS = ("values", "classes")
NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.int16: np.int16, torch.int32: np.int32}
# of this process, by their files: the kernel lets go of them when it dies, however it dies
_LOCKS: dict[Path, int] = {}


class Disk:
    """The files of one bank. Those of its methods that write them are called by the node's first process alone.

    Args:
        folder: where they are.
        layout: shape and format.
        data: fingerprint of the training examples.
        nodes: machines that train together.
    """

    def __init__(self, folder: Path, layout: Layout, data: str, nodes: int) -> None:
        self.folder, self.layout = folder, layout
        self._about = {
            "version": VERSION,
            "examples": layout.examples,
            "classes": layout.classes,
            "window": layout.window,
            "format": str(layout.format),
            "data": data,
            "nodes": nodes,
        }
        self._slots: list[dict[str, Any]] = [{"epoch": None, "checksums": None} for _ in range(layout.slots)]
        self._maps: list[list[np.memmap[Any, Any]]] = []
        self.slots: list[Slot] = []

    def create(self, students: int) -> None:
        """Allocate the files, without a row in them; there must be room for those of so many students.

        Raises:
            LimbeckError: there is no room or no permission, another process has the files, or they are another run's.
        """
        self._hold()
        header = self.folder / "header.json"
        if header.exists():
            self._compare(files.read_json(header))
        try:
            header.unlink(missing_ok=True)
            files.remove_unfinished(self.folder)
            for path in self.folder.glob("slot-*.bin"):
                path.unlink()  # never cut to length: somebody may have it mapped
            if students:
                check_fits("disk", self.layout, torch.device("cpu"), self.folder, students, 1)
            for i in range(self.layout.slots):
                for path, (width, dtype) in self._files(i).items():
                    allocate(path, self.layout.examples * width * np.dtype(dtype).itemsize)
        except OSError as error:
            raise LimbeckError(f"cannot write into {self.folder}: {error.strerror}") from error
        self._write_header()

    def adopt(self, closed: Mapping[int, str], begun: int | None) -> None:
        """Take up the files where a checkpoint left them.

        Args:
            closed: digests of past epochs, as `facts` gave them.
            begun: the epoch of which rows had been recorded, if any had.

        Raises:
            LimbeckError: files are missing, damaged or another run's, have gone on without this checkpoint, or another
                process has them.
        """
        path = self.folder / "header.json"
        if not path.exists():
            raise LimbeckError(f"{path} is gone, and the checkpoint needs its predictions: put it back, or start anew")
        self._hold()
        header = files.read_json(path)
        self._compare(header)
        self._slots = header["slots"]
        for epoch, digest in closed.items():
            self._verify(epoch, digest)
        if begun is not None:
            slot = self._slots[begun % self.layout.slots]
            if slot["epoch"] != begun:
                raise self._gone(begun)
            self._check_lengths(begun % self.layout.slots)
            slot["checksums"] = None
            self._write_header()

    def map(self) -> None:
        """Map the files, on every process of the node."""
        self._maps = [
            [np.memmap(path, dtype, "r+", shape=(self.layout.examples, width)) for path, (width, dtype) in named]
            for named in (self._files(i).items() for i in range(self.layout.slots))
        ]
        self.slots = []
        for columns in self._maps:
            *parts, there = map(torch.from_numpy, columns)
            self.slots.append(Slot(tuple(parts), there[:, 0]))

    def begin(self, epoch: int) -> None:
        """Give a slot to an epoch, without a row in it."""
        index = epoch % self.layout.slots
        self._slots[index] = {"epoch": epoch, "checksums": None}
        self._write_header()
        self.slots[index].there.zero_()

    def close(self, epoch: int) -> None:
        """Make a slot durable, with its checksums."""
        index = epoch % self.layout.slots
        self.flush()
        self._slots[index]["checksums"] = {path.name: _checksums(path) for path in self._files(index)}
        self._write_header()

    def flush(self) -> None:
        """Write what the node's processes have recorded through to the disk.

        Raises:
            LimbeckError: the system refuses.
        """
        try:
            for columns in self._maps:
                for column in columns:
                    column.flush()
        except OSError as error:
            raise LimbeckError(
                f"cannot write into {self.folder}: {error.strerror}; mend that, and the same command continues from "
                "the last checkpoint"
            ) from error

    def facts(self, epochs: Sequence[int]) -> dict[int, str]:
        """Return a digest of each of these closed epochs, for the checkpoint."""
        return {epoch: _digest(self._slots[epoch % self.layout.slots]) for epoch in epochs}

    def _files(self, slot: int) -> dict[Path, tuple[int, Any]]:
        """Return path, width and type of a slot's files; the last says which rows there are."""
        columns = self.layout.format.columns(self.layout.classes)
        named = {
            self.folder / f"slot-{slot}-{name}.bin": (width, NUMPY[dtype])
            for name, (width, dtype) in zip(COLUMNS, columns, strict=False)
        }
        return {**named, self.folder / f"slot-{slot}-there.bin": (1, np.bool_)}

    def _hold(self) -> None:
        """Hold the files against another process, for this one's lifetime."""
        path = (self.folder / ".lock").absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path in _LOCKS and path.exists() and os.path.samestat(path.stat(), os.fstat(_LOCKS[path])):
                return
            lock = os.open(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise LimbeckError(f"cannot write into {self.folder}: {error.strerror}") from error
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            os.close(lock)
            raise LimbeckError(f"another process is writing {self.folder}: wait, or choose another folder") from error
        _LOCKS[path] = lock

    def _compare(self, header: Mapping[str, Any]) -> None:
        for key, mine in self._about.items():
            theirs = header.get(key)
            if theirs != mine:
                what = "other data" if key == "data" else f"{key}: {theirs} there, {mine} here"
                raise LimbeckError(
                    f"{self.folder} holds another run's predictions ({what}): remove it, or choose another folder"
                )

    def _verify(self, epoch: int, digest: str) -> None:
        index = epoch % self.layout.slots
        slot = self._slots[index]
        if slot["epoch"] != epoch or slot["checksums"] is None or _digest(slot) != digest:
            raise self._gone(epoch)
        self._check_lengths(index)
        for path in self._files(index):
            if _checksums(path) != slot["checksums"][path.name]:
                raise LimbeckError(f"{path} is damaged: put a copy of it back, or train again in a new folder")

    def _check_lengths(self, slot: int) -> None:
        for path, (width, dtype) in self._files(slot).items():
            if not path.exists() or path.stat().st_size != self.layout.examples * width * np.dtype(dtype).itemsize:
                raise LimbeckError(
                    f"{path} is gone or cut short: put a copy of it back, or train again in a new folder"
                )

    def _gone(self, epoch: int) -> LimbeckError:
        return LimbeckError(
            f"{self.folder} no longer holds the predictions of epoch {epoch + 1} that the checkpoint needs: they were "
            "written over since; put a sound copy of the newest checkpoint back, or train again in a new folder"
        )

    def _write_header(self) -> None:
        files.write(self.folder / "header.json", json.dumps({**self._about, "slots": self._slots}) + "\n")


def allocate(path: Path, size: int) -> None:
    """Make a file of zeros whose blocks are all taken from the disk."""
    with path.open("xb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, BLOCK):
                file.write(bytes(min(BLOCK, size - start)))
            file.flush()
        os.fsync(file.fileno())


def _checksums(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [zlib.crc32(block) for block in iter(lambda: file.read(BLOCK), b"")]


def _digest(slot: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(slot["checksums"], sort_keys=True).encode()).hexdigest()[:16]
