"""Limbeck: knowledge distillation for PyTorch.

Importing the package is light; the public names below load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.api import Result as Result
    from limbeck.api import distil as distil
    from limbeck.core.batch import Batch as Batch
    from limbeck.core.batch import Clock as Clock
    from limbeck.core.cohort import Peers as Peers
    from limbeck.core.imitation import Target as Target
    from limbeck.core.imitation import imitation as imitation
    from limbeck.core.objective import Objective as Objective
    from limbeck.errors import LimbeckError as LimbeckError
    from limbeck.teachers.teacher import Teacher as Teacher

_HOMES = {
    "Batch": "limbeck.core.batch",
    "Clock": "limbeck.core.batch",
    "LimbeckError": "limbeck.errors",
    "Objective": "limbeck.core.objective",
    "Peers": "limbeck.core.cohort",
    "Result": "limbeck.api",
    "Target": "limbeck.core.imitation",
    "Teacher": "limbeck.teachers.teacher",
    "distil": "limbeck.api",
    "imitation": "limbeck.core.imitation",
}

__all__ = [*sorted(_HOMES)]  # noqa: PLE0604
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
