"""How far examples move between epochs, and which of them stay on one process or machine."""

from __future__ import annotations

from typing import Literal, NamedTuple

from jaxtyping import Int64
from torch import Tensor

Shuffle = Literal["global", "node", "process"]


class Shard(NamedTuple):
    """The examples that stay here in every epoch.

    Attributes:
        within: they stay on this "node", where any of its processes may see them, or on this "process".
        ids: theirs, on the host.
    """

    within: Literal["node", "process"]
    ids: Int64[Tensor, " examples"]
