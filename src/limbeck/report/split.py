"""Which channels of a student inherit and which explore, as its run's folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int64
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.train.weights import read_weights

FILE = "matchers.safetensors"


class ChannelSplit(NamedTuple):
    """The two parts of the channels of one of a student's layers.

    Attributes:
        layer: its dotted path.
        inherit: indices of the channels that inherit the teacher's features; may be empty, as may the others.
        explore: those of the others.
    """

    layer: str
    inherit: Int64[Tensor, " inherit"]
    explore: Int64[Tensor, " explore"]


def split_of(run: Path, student: str = "student") -> ChannelSplit | None:
    """Return how a student of a run is split, at the last of its layers that are; None if none is.

    Args:
        run: the folder.
        student: its name there: "student", or "student-0" and so on where there are several.

    Raises:
        LimbeckError: the file is damaged.
    """
    path = run / FILE
    if not path.exists():
        return None
    tensors, metadata = read_weights(path)
    number = int(student.removeprefix("student").removeprefix("-") or 0)
    try:
        splits = [split for split in json.loads(metadata["limbeck"])["splits"] if split["student"] == number]
        if not splits:
            return None
        last = splits[-1]
        return ChannelSplit(str(last["layer"]), tensors[last["inherit"]], tensors[last["explore"]])
    except (LookupError, TypeError, ValueError) as error:
        raise LimbeckError(f"{path} is damaged; remove its folder and train again") from error
