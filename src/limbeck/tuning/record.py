"""What a search remembers of itself, tune.json: what was asked for, and every trial, begun ones among them."""

from __future__ import annotations

import functools
import json
from importlib import metadata
from typing import Any, NamedTuple

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.studies.schedule import leaves
from limbeck.studies.writing import versions
from limbeck.tuning.search import Prepared

FILE = "tune.json"


@functools.cache
def libraries() -> dict[str, str]:
    """Return the versions with which trials are proposed and judged."""
    return versions() | {"optuna": metadata.version("optuna")}


class Trial(NamedTuple):
    """One run of a search.

    Attributes:
        number: counted from 1.
        values: of the searched fields.
        figure: on the validation split, unscaled; None where it is not finished.
        why: it failed; None where it did not.
    """

    number: int
    values: dict[str, Any]
    figure: float | None = None
    why: str | None = None

    @property
    def over(self) -> bool:
        """Whether it is finished or has failed."""
        return self.figure is not None or self.why is not None

    @property
    def state(self) -> str:
        """What became of it."""
        return "finished" if self.figure is not None else "failed" if self.why is not None else "begun"


def write_record(prepared: Prepared, trials: dict[str, list[Trial]]) -> None:
    """Write all that is known.

    Raises:
        LimbeckError: it cannot be written.
    """
    whole = {
        "command": prepared.command,
        "versions": libraries(),
        "by": prepared.by.key,
        "of": "the last weights, on the validation split",
        "threads": prepared.threads,
        "trials": prepared.trials,
        "recipes": {
            search.label: {
                "recipe": search.recipe,
                "space": {key: str(axis) for key, axis in search.space.items()},
                "base": search.base,
                "trials": [{**trial._asdict(), "state": trial.state} for trial in trials[search.label]],
            }
            for search in prepared.searches
        },
    }
    files.write(prepared.folder / FILE, json.dumps(whole, indent=2, allow_nan=False) + "\n")


def read_record(prepared: Prepared) -> dict[str, list[Trial]]:
    """Return the trials that are known of each recipe, by its label; none where nothing was begun.

    Raises:
        LimbeckError: the folder holds another search, or more trials than are asked for, or the file is damaged.
    """
    path = prepared.folder / FILE
    if not path.exists():
        return {search.label: [] for search in prepared.searches}
    whole = files.read_json(path)
    try:
        there = {
            "--by": whole["by"],
            "--threads": whole["threads"],
            "recipes": " ".join(whole["recipes"]),
        }
        bases = {label: one["base"] for label, one in whole["recipes"].items()}
        spaces = {label: one["space"] for label, one in whole["recipes"].items()}
        trials = {
            label: [Trial(one["number"], one["values"], one["figure"], one["why"]) for one in found["trials"]]
            for label, found in whole["recipes"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise LimbeckError(f"{path} is damaged; remove its folder and search again") from error
    here: dict[str, Any] = {
        "--by": prepared.by.key,
        "--threads": prepared.threads,
        "recipes": " ".join(search.label for search in prepared.searches),
    }
    for search in prepared.searches if there["recipes"] == here["recipes"] else ():
        label = search.label
        there |= {f"{label}: {key}": value for key, value in leaves(bases[label]).items()}
        here |= {f"{label}: {key}": value for key, value in leaves(search.base).items()}
        there |= {f"the range of {label}: {key}": text for key, text in spaces[label].items()}
        here |= {f"the range of {label}: {key}": str(axis) for key, axis in search.space.items()}
    for key in [*there, *here]:
        if there.get(key) != here.get(key):
            raise LimbeckError(
                f"{prepared.folder} holds another search ({key} is {there.get(key)} there and {here.get(key)} here): "
                "choose another folder by --out, or remove this one"
            )
    made = max((len(found) for found in trials.values()), default=0)
    if made > prepared.trials:
        raise LimbeckError(f"{prepared.folder} has {made} trials already: give --trials {made} or more")
    return trials
