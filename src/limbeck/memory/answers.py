"""A teacher's answers in memory-mapped files, for as many epochs as there are different views.

    folder/
      header.json             shape, format, and what the answers were given to and by
      epoch-0-values.bin      float [rows, width]
      epoch-0-classes.bin     of the top-k formats: their classes, int [rows, k]
      epoch-0-there.bin       which rows there are, bool [rows]
      epoch-1-values.bin ...

Files are allocated whole, and the header is written last, under a lock. A row is flagged only after its values have
been written through to the disk, so that a killed writer leaves rows that are not there, never wrong ones. Processes of
one machine may fill the files together: each flags what it has written itself.
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
from limbeck.memory.disk import COLUMNS, NUMPY, allocate
from limbeck.memory.homes import USABLE, Slot, free_bytes
from limbeck.memory.sizes import Layout, in_words

VERSION = 1
# Rows that are written before they are flagged: what a killed process has to ask for again, at most.
ROWS_BETWEEN_FLUSHES = 1 << 14


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
        self._slot: Slot | None = None
        self._opened: tuple[int, str] | None = None
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
        *_, there = self._paths(epoch)
        self._check_lengths(epoch)
        return bool(np.fromfile(there, np.bool_).all())

    def gather(self, epoch: int, rows: Int[Tensor, " batch"]) -> Slot:
        """Return rows of an epoch, on the host; they are read without a right to write."""
        return self._open(epoch, "c").gather(rows)

    def missing(self, epoch: int, rows: Int[Tensor, " batch"]) -> Tensor:
        """Return which of these rows are not there yet, bool [B]."""
        return ~self._open(epoch, "r+").there[rows]

    def scatter(self, epoch: int, rows: Int[Tensor, " batch"], parts: tuple[Tensor, ...]) -> None:
        """Write those of these rows that are not there yet.

        Raises:
            LimbeckError: the files cannot be made or written.
        """
        slot = self._open(epoch, "r+")
        new = ~slot.there[rows]
        fresh = rows[new]
        if not len(fresh):
            return
        for column, part in zip(slot.parts, parts, strict=True):
            column.index_copy_(0, fresh, part[new])
        self._written.append(fresh)
        if sum(map(len, self._written)) >= ROWS_BETWEEN_FLUSHES:
            self.commit()

    def commit(self) -> None:
        """Write through what was written, and only then say that it is there."""
        if self._slot is None or not self._written:
            return
        *values, there = self._maps
        for column in values:
            column.flush()
        self._slot.there.index_fill_(0, torch.cat(self._written), True)
        there.flush()
        self._written = []

    def create(self) -> None:
        """Allocate the files, unless another process has done so meanwhile.

        Raises:
            LimbeckError: there is no room or no permission, or the folder holds other answers.
        """
        try:
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
        except OSError as error:
            raise LimbeckError(f"cannot write into {self.folder}: {error.strerror}") from error

    def _open(self, epoch: int, mode: Literal["c", "r+"]) -> Slot:
        """Return one epoch's rows, mapped; only one epoch is at a time."""
        if self._slot is not None and self._opened == (epoch, mode):
            return self._slot
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
        *parts, there = map(torch.from_numpy, self._maps)
        self._slot, self._opened = Slot(tuple(parts), there[:, 0]), (epoch, mode)
        return self._slot

    def _paths(self, epoch: int) -> dict[Path, tuple[int, Any]]:
        """Return path, width and type of an epoch's files; the last says which rows there are."""
        columns = self.layout.format.columns(self.layout.classes)
        named = {
            self.folder / f"epoch-{epoch}-{name}.bin": (width, NUMPY[dtype])
            for name, (width, dtype) in zip(COLUMNS, columns, strict=False)
        }
        return {**named, self.folder / f"epoch-{epoch}-there.bin": (1, np.bool_)}

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
        """Wait for other processes that allocate the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield
