"""Files appear whole or not at all: temporary file beside the target, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

TEMPORARY = ".unfinished-"


def write(path: Path, content: bytes | memoryview | str) -> None:
    """Write a file atomically and durably, making its folder where needed.

    Raises:
        LimbeckError: the file cannot be written (no space, no permission); what was there before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise LimbeckError(f"cannot write {path}: {error.strerror}; what was there before is untouched") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file of a run's folder holds.

    Raises:
        LimbeckError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LimbeckError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise LimbeckError(f"{path} is damaged ({error}); remove its folder and train again") from error


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed writer left behind."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
