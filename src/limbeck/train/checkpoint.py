"""Checkpoints: whole, durable, verified. A damaged one is passed over for the one before it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck import files
from limbeck.errors import LimbeckError

KEPT = 2


class Checkpoints:
    """The last two states of a run, as `<step>-<digest>.pt` files; the digest is the content's SHA-256.

    Args:
        folder: where they are.
        say: told when a damaged checkpoint is passed over.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._damaged: list[Path] = []
        files.remove_unfinished(folder)

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write a state, then drop the oldest."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        digest = hashlib.sha256(content).hexdigest()[:16]
        for damaged in self._damaged:
            damaged.unlink(missing_ok=True)  # it must not count as one of the two that are kept
        self._damaged = []
        files.write(self.folder / f"{step:09d}-{digest}.pt", content)
        for old in self._newest_first()[KEPT:]:
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Return the newest sound state, or None where there is none at all.

        Damaged ones stay until the next `save`, so that a run that cannot go on from an older one loses nothing.

        Raises:
            LimbeckError: there are checkpoints and all are damaged.
        """
        found = self._newest_first()
        self._damaged = []
        for path in found:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] == path.stem.partition("-")[2]:
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                return state
            self._damaged.append(path)
            self.say(f"checkpoint {path} is damaged; falling back to the one before it")
        if found:
            raise LimbeckError(f"every checkpoint in {self.folder} is damaged; remove the folder to start over")
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.pt"), reverse=True)
