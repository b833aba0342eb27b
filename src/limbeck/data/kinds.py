"""The kinds of data that a recipe may have, told apart by their source."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from limbeck.data.boxes.load import BoxData
from limbeck.data.boxes.sources import BOX_SOURCES
from limbeck.data.choice import DataChoice
from limbeck.data.load import SOURCES, Data
from limbeck.data.text.load import TextData
from limbeck.data.text.sources import TEXT_SOURCES

KINDS: Final[dict[str, type[DataChoice]]] = {"images": Data, "text": TextData, "boxes": BoxData}
NAMES: Final[dict[str, dict[str, Any]]] = {
    "images": dict(SOURCES),
    "text": dict(TEXT_SOURCES),
    "boxes": dict(BOX_SOURCES),
}


def kind_of(data: Mapping[Any, Any]) -> str:
    """Return the kind of a recipe's data, or that of the nearest name; of what cannot be told, images."""
    source = data.get("source")
    name = source.get("name") if isinstance(source, Mapping) else source
    if not isinstance(name, str):
        return next((kind for kind, cls in KINDS.items() if isinstance(source, tuple(NAMES[kind].values()))), "images")
    close = difflib.get_close_matches(name, [one for names in NAMES.values() for one in names], n=1)
    return next((kind for kind, names in NAMES.items() if {name, *close[:1]} & names.keys()), "images")
