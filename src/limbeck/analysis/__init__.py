"""Pictures in numbers: what a method does to the gradient, and what networks say. Pure functions on tensors.

Names load on use: `limbeck.analysis.confidence` alone stays free of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.analysis.active import ActiveChannels as ActiveChannels
    from limbeck.analysis.active import active_subspace_dimension as active_subspace_dimension
    from limbeck.analysis.cka import LinearCKA as LinearCKA
    from limbeck.analysis.cka import cka_matrix as cka_matrix
    from limbeck.analysis.cka import linear_cka as linear_cka
    from limbeck.analysis.gradients import gradients_at as gradients_at
    from limbeck.analysis.wide import wide_cka as wide_cka

_HOMES = {
    "ActiveChannels": "active",
    "LinearCKA": "cka",
    "active_subspace_dimension": "active",
    "cka_matrix": "cka",
    "gradients_at": "gradients",
    "linear_cka": "cka",
    "wide_cka": "wide",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)
