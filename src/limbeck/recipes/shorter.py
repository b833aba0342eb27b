"""A stage for fewer epochs: what is counted in epochs keeps its share of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The field of a schedule or a stop that counts epochs, by its name.
TIMES = {"until": "epoch", "ramp_up": "epochs", "step": "every", "epoch": "epoch", "patience": "epochs"}


def shortened(fields: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return a stage's fields for fewer epochs, with a schedule that is complete in them; for as many, the same ones.

    Matchers are left alone: their times are those of coders, which learn beforehand.

    Args:
        fields: of a stage, all of them, as plain values.
        epochs: at most as many as the stage has.
    """
    tree, training = dict(fields), dict(fields["training"])
    share = epochs / training["epochs"]
    if share < 1:
        tree["schedule"] = _rate(tree["schedule"], training["epochs"], share)
        tree["method"] = timed(tree["method"], share)
        if tree["data"].get("cycle") is not None:
            tree["data"] = tree["data"] | {"cycle": max(1, round(tree["data"]["cycle"] * share))}
        if training.get("stop_epoch") is not None:
            training["stop_epoch"] = max(1, round(training["stop_epoch"] * share))
        kept = [max(1, round(epoch * share)) for epoch in training["keep_epochs"]]
        training["keep_epochs"] = list(dict.fromkeys(kept))
    training["epochs"] = epochs
    return tree | {"training": training}


def _rate(schedule: Mapping[str, Any], epochs: int, share: float) -> dict[str, Any]:
    """Return a learning-rate schedule for a share of the epochs."""
    fields = timed(schedule, share)
    fields["warmup"] = schedule["warmup"] * share
    if "milestones" in schedule:
        fields["milestones"] = [_milestone(mark, epochs, share) for mark in schedule["milestones"]]
    return fields


def _milestone(mark: float, epochs: int, share: float) -> float:
    """Return an epoch as a share of all epochs; one that never comes stays one that never comes."""
    if mark < 1:
        return mark
    return mark / epochs if mark < epochs else mark * share


def timed(fields: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Return fields with the epochs of every schedule in them shortened to a share; at least 1 where there was one."""
    changed = {key: timed(value, share) if isinstance(value, Mapping) else value for key, value in fields.items()}
    time = TIMES.get(fields.get("name", ""))
    if time is not None and fields[time]:
        changed[time] = max(1, round(fields[time] * share))
    return changed
