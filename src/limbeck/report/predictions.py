"""The answers of a finished run, as its folder keeps them."""

from __future__ import annotations

from limbeck.train.predictions import read_predictions

__all__ = ["read_predictions"]
