"""A teacher's answers in memory-mapped files, for as many epochs as there are different views.

    folder/
      header.json             shape, format, and what the answers were given to and by
      epoch-0-values.bin      float [rows, width]
      epoch-0-classes.bin     of the top-k formats: their classes, int [rows, k]
      epoch-0-checksums.bin   of each row, int64 [rows]; 0 where there is none yet
      epoch-1-values.bin ...

Files are allocated whole, and the header is written last, under a lock. A row gets its checksum only after its values
have been written through to the disk, so that a killed writer leaves rows that are not there, never wrong ones. It is
verified whenever the row is read. Processes of one machine may fill the files together: they write in turn, and what
has its checksum is never written again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.memory.checksums import checksums
from limbeck.memory.disk import COLUMNS, NUMPY, allocate
from limbeck.memory.homes import USABLE, free_bytes
from limbeck.memory.sizes import Layout, in_words

VERSION = 2
# Rows that are written before they get their checksums: what a killed process has to ask for again, at most.
ROWS_BETWEEN_FLUSHES = 1 << 14
# Rows that are verified at once where all are.
BLOCK = 1 << 10


class Answers:
    """The files of one cache.

    Args:
        folder: where they are.
        layout: shape and format; its slots are the epochs.
        about: what the answers depend on, as plain values by name.

    Raises:
        LimbeckError: the folder holds other answers (says what differs), or the disk is too small.
    """

    def __init__(self, folder: Path, layout: Layout, about: Mapping[str, Any]) -> None:
        self.folder, self.layout = folder, layout
        shape = {"rows": layout.examples, "classes": layout.classes, "format": str(layout.format)}
        # as it comes back from the file: no tuples
        self._about = json.loads(json.dumps({"version": VERSION, **about, **shape}))
        self._maps: list[np.memmap[Any, Any]] = []
        self._opened: tuple[int, str] | None = None
        self._parts: tuple[Tensor, ...] = ()
        self._sums = torch.empty(0, dtype=torch.int64)
        self._written: list[Tensor] = []
        if self.exists:
            self._compare()
        else:
            layout.format.columns(layout.classes)
            self._check_fits()

    @property
    def exists(self) -> bool:
        """Whether the files are allocated."""
        return (self.folder / "header.json").exists()

    def complete(self, epoch: int) -> bool:
        """Say whether all rows of an epoch are there."""
        if not self.exists:
            return False
        *_, sums = self._paths(epoch)
        self._check_lengths(epoch)
        return bool(np.fromfile(sums, np.int64).all())

    def gather(self, epoch: int, rows: Int[Tensor, " batch"]) -> tuple[Tensor, ...]:
        """Return rows of an epoch, on the host; they are read without a right to write.

        Raises:
            LimbeckError: a row is not what was recorded.
        """
        self._open(epoch, "c")
        parts, found = self._read(epoch, rows)
        sound = found == self._sums[rows]
        if not bool(sound.all()):
            raise LimbeckError(
                f"the teacher's cache {self.folder} is damaged in epoch {epoch}, row {int(rows[~sound][0])}: let "
                "`limbeck teacher record` ask for damaged rows again, or remove the cache"
            )
        return parts

    def missing(self, epoch: int, rows: Int[Tensor, " batch"]) -> Tensor:
        """Return which of these rows are not there yet, bool [B]."""
        self._open(epoch, "r+")
        return self._sums[rows] == 0

    def scatter(self, epoch: int, rows: Int[Tensor, " batch"], parts: tuple[Tensor, ...]) -> None:
        """Write those of these rows that are not there yet.

        Raises:
            LimbeckError: the files cannot be made or written.
        """
        self._open(epoch, "r+")
        if bool(self._sums[rows].all()):
            return
        with self._alone():
            new = self._sums[rows] == 0
            fresh = rows[new]
            for column, part in zip(self._parts, parts, strict=True):
                column.index_copy_(0, fresh, part[new])
        self._written.append(fresh)
        if sum(map(len, self._written)) >= ROWS_BETWEEN_FLUSHES:
            self.commit()

    def commit(self) -> None:
        """Write through what was written, and only then say that it is there.

        Raises:
            LimbeckError: the files cannot be written.
        """
        if self._opened is None or not self._written:
            return
        epoch, _ = self._opened
        with self._alone():
            for column in self._maps[:-1]:
                column.flush()
            for rows in self._written:
                # as they are there now: another process may have written them too, and said so
                fresh = rows[self._sums[rows] == 0]
                _, self._sums[fresh] = self._read(epoch, fresh)
            self._maps[-1].flush()
        self._written = []

    def forget_damaged(self) -> int:
        """Take back what is no longer as it was recorded, so that it is asked for again; return how many rows.

        Raises:
            LimbeckError: files are gone, cut short, or cannot be written.
        """
        lost = 0
        for epoch in range(self.layout.slots) if self.exists else ():
            self._open(epoch, "r+")
            for start in range(0, self.layout.examples, BLOCK):
                rows = torch.arange(start, min(start + BLOCK, self.layout.examples))
                _, found = self._read(epoch, rows)
                damaged = rows[(self._sums[rows] != 0) & (self._sums[rows] != found)]
                if len(damaged):
                    with self._alone():
                        self._sums[damaged] = 0
                        self._maps[-1].flush()
                lost += len(damaged)
        return lost

    def create(self) -> None:
        """Allocate the files, unless another process has done so meanwhile.

        Raises:
            LimbeckError: there is no room or no permission, or the folder holds other answers.
        """
        with self._alone():
            if self.exists:
                self._compare()
                return
            self._check_fits()
            files.remove_unfinished(self.folder)
            for path in self.folder.glob("epoch-*.bin"):
                path.unlink()  # of a process that was killed before it wrote the header
            for epoch in range(self.layout.slots):
                for path, (width, dtype) in self._paths(epoch).items():
                    allocate(path, self.layout.examples * width * np.dtype(dtype).itemsize)
            files.write(self.folder / "header.json", json.dumps(self._about, indent=2) + "\n")

    def _open(self, epoch: int, mode: Literal["c", "r+"]) -> None:
        """Map one epoch's rows; only one epoch is at a time."""
        if self._opened == (epoch, mode):
            return
        self.commit()
        if not self.exists:
            self.create()
        self._check_lengths(epoch)
        try:
            self._maps = [
                np.memmap(path, dtype, mode, shape=(self.layout.examples, width))
                for path, (width, dtype) in self._paths(epoch).items()
            ]
        except OSError as error:
            raise LimbeckError(f"cannot open {self.folder}: {error.strerror}") from error
        *parts, sums = map(torch.from_numpy, self._maps)
        self._parts, self._sums, self._opened = tuple(parts), sums[:, 0], (epoch, mode)

    def _read(self, epoch: int, rows: Int[Tensor, " batch"]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return rows of the open epoch with their checksums as they are now.

        Rows are counted over all epochs there, so that none is taken for one of another epoch.
        """
        parts = tuple(column.index_select(0, rows) for column in self._parts)
        return parts, checksums(rows + epoch * self.layout.examples, parts)

    def _paths(self, epoch: int) -> dict[Path, tuple[int, Any]]:
        """Return path, width and type of an epoch's files; the last one holds the checksums."""
        columns = self.layout.format.columns(self.layout.classes)
        named = {
            self.folder / f"epoch-{epoch}-{name}.bin": (width, NUMPY[dtype])
            for name, (width, dtype) in zip(COLUMNS, columns, strict=False)
        }
        return {**named, self.folder / f"epoch-{epoch}-checksums.bin": (1, np.int64)}

    def _compare(self) -> None:
        header = files.read_json(self.folder / "header.json")
        for key, mine in self._about.items():
            theirs = header.get(key)
            if theirs != mine:
                short = isinstance(mine, int | float | str) and len(str(mine)) < 32
                what = f"{key}: {theirs} there, {mine} here" if short else f"other {key}"
                raise LimbeckError(
                    f"the cache {self.folder} holds other answers ({what}): choose another teacher.cache, or remove it"
                )

    def _check_fits(self) -> None:
        free = free_bytes("disk", torch.device("cpu"), self.folder)
        if free is not None and self.layout.bytes > USABLE * free:
            raise LimbeckError(
                f"the teacher's answers ({self.layout}) do not fit into {self.folder}, where {in_words(free)} are "
                "free: lower data.cycle, set teacher.cache_dtype to float16, or set teacher.cache_top_k"
            )

    def _check_lengths(self, epoch: int) -> None:
        for path, (width, dtype) in self._paths(epoch).items():
            if not path.exists() or path.stat().st_size != self.layout.examples * width * np.dtype(dtype).itemsize:
                raise LimbeckError(f"{path} is gone or cut short: put a copy of it back, or remove {self.folder}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other processes that write the files.

        Raises:
            LimbeckError: the system refuses to write.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("w") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LimbeckError(f"cannot write into {self.folder}: {error.strerror}") from error
