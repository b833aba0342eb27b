"""Where pictures with boxes come from."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol, runtime_checkable

from limbeck.data.boxes.annotations import BoxSplits
from limbeck.data.boxes.coco import COCO
from limbeck.data.boxes.voc import VOC

__all__ = ["BOX_SOURCES", "COCO", "VOC", "BoxSource"]


@runtime_checkable
class BoxSource(Protocol):
    """Where pictures with boxes come from.

    Attributes:
        name: its name in a recipe.
        validation: name of the validation split, or None.
    """

    name: ClassVar[str]

    @property
    def validation(self) -> str | None: ...  # noqa: D102

    def load(self) -> BoxSplits:
        """Read the annotations of all splits; the pictures are read when they are needed.

        Raises:
            LimbeckError: a file is missing or broken, or a class is unknown.
        """
        ...


BOX_SOURCES: Final[dict[str, type[BoxSource]]] = {source.name: source for source in (VOC, COCO)}
