"""Whether the data of runs are there, and have the classes of those who teach: asked before the first run begins."""

from __future__ import annotations

import json
from collections.abc import Mapping

from limbeck.core.config import fields_of
from limbeck.data.choice import DataChoice
from limbeck.errors import LimbeckError
from limbeck.teachers.plan import Plan

Classes = tuple[str, ...] | None


def check_sources(plans: Mapping[str, Plan]) -> None:
    """Read every source of data once, which the runs would have to read anyway.

    Args:
        plans: by the names of their runs.

    Raises:
        LimbeckError: names the first run whose data are missing or broken, or of which a stage's teacher knows other
            classes.
    """
    known: dict[str, Classes] = {}
    for name, plan in plans.items():
        try:
            plan.check_classes({stage: _classes(fields.data, known) for stage, fields in plan.stages.items()})
        except LimbeckError as error:
            raise LimbeckError(f"{name}: {error}") from error


def _classes(data: DataChoice, known: dict[str, Classes]) -> Classes:
    """Return the classes of data; sources that were read before are not read again."""
    fields = fields_of(data)
    key = json.dumps([fields["source"], fields.get("classes")], sort_keys=True)
    if key not in known:
        known[key] = data.known_classes()
    return known[key]
