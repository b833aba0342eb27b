"""Which channels of a student inherit and which explore, as its run's folder says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Int64
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.train.weights import read_weights

FILE = "matchers.safetensors"
_INHERIT = re.compile(r"(?P<matcher>.*)inherit_channels(_(?P<number>\d+))?")


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


def split_of(run: Path) -> ChannelSplit | None:
    """Return how a run's student is split, at the last of the layers that are; None if none is.

    The file's metadata names the layer by `split_layer`, or for each split by its tensors' name in `splits`, where {}
    stands for the part.

    Raises:
        LimbeckError: the file is damaged, or several matchers split channels.
    """
    path = run / FILE
    if not path.exists():
        return None
    tensors, metadata = read_weights(path)
    found = [match for name in tensors if (match := _INHERIT.fullmatch(name))]
    if not found:
        return None
    if len({match["matcher"] for match in found}) > 1:
        raise LimbeckError(f"{path} holds the splits of several matchers; relevance is shown through one alone")
    name = max(found, key=lambda match: int(match["number"] or 0))[0]
    try:
        explore = tensors[name.replace("inherit_channels", "explore_channels")]
        layer = _layer(json.loads(metadata["limbeck"]), name.replace("inherit_channels", "{}_channels"))
    except (LookupError, TypeError, ValueError) as error:
        raise LimbeckError(f"{path} is damaged; remove its folder and train again") from error
    return ChannelSplit(layer, tensors[name], explore)


def _layer(about: Any, name: str) -> str:
    return str(about["splits"][name] if "splits" in about else about["split_layer"])
