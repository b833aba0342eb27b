"""Metrics of a classifier. Names load on use: `limbeck.metrics.figures` alone stays free of torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.metrics.calibrate import TEMPERATURES as TEMPERATURES
    from limbeck.metrics.calibrate import fit_temperature as fit_temperature
    from limbeck.metrics.classification import Confidences as Confidences
    from limbeck.metrics.classification import Reliability as Reliability
    from limbeck.metrics.classification import accuracy as accuracy
    from limbeck.metrics.classification import brier as brier
    from limbeck.metrics.classification import confidences as confidences
    from limbeck.metrics.classification import ece as ece
    from limbeck.metrics.classification import nll as nll
    from limbeck.metrics.classification import reliability as reliability
    from limbeck.metrics.figures import FIGURES as FIGURES
    from limbeck.metrics.figures import Figure as Figure
    from limbeck.metrics.figures import figure as figure
    from limbeck.metrics.selective import RiskCoverage as RiskCoverage
    from limbeck.metrics.selective import aurc as aurc
    from limbeck.metrics.selective import eaurc as eaurc
    from limbeck.metrics.selective import risk_coverage as risk_coverage
    from limbeck.metrics.streaming import RunningAURC as RunningAURC
    from limbeck.metrics.streaming import RunningBrier as RunningBrier
    from limbeck.metrics.streaming import RunningECE as RunningECE
    from limbeck.metrics.streaming import RunningError as RunningError
    from limbeck.metrics.streaming import RunningNLL as RunningNLL
    from limbeck.metrics.table import summary as summary

_HOMES = {
    "calibrate": ("TEMPERATURES", "fit_temperature"),
    "classification": (
        "Confidences",
        "Reliability",
        "accuracy",
        "brier",
        "confidences",
        "ece",
        "nll",
        "reliability",
    ),
    "figures": ("FIGURES", "Figure", "figure"),
    "selective": ("RiskCoverage", "aurc", "eaurc", "risk_coverage"),
    "streaming": ("RunningAURC", "RunningBrier", "RunningECE", "RunningError", "RunningNLL"),
    "table": ("summary",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when the name is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOME_OF)
