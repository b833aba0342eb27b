"""What a search leaves behind: trials.csv, the best recipes, and the study that compares them on fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from limbeck import files
from limbeck.recipes.parse import write
from limbeck.recipes.sequence import SEEDS_APART, sequence_of
from limbeck.tuning.make import Outcome
from limbeck.tuning.search import Search

SEEDS = 5
STUDY = "compare.yaml"


def write_results(outcome: Outcome) -> list[str]:
    """Write the table of the trials, the best recipes and the study, and return the names of the files.

    Raises:
        LimbeckError: a file cannot be written.
    """
    prepared = outcome.prepared
    written = {"trials.csv": str(pd.DataFrame(trial_rows(outcome)).to_csv(index=False))}
    for search in prepared.searches:
        if (best := outcome.best(search.label)) is not None:
            assert best.figure is not None
            figure = f"{prepared.by.name} {prepared.by.show(best.figure)} on the validation split"
            about = f"{search.recipe} as tuned: trial {best.number} of {len(outcome.trials[search.label])}, {figure}."
            tree = {"description": about, **runnable(search.tree(best.values))}
            written[best_file(outcome, search)] = write(tree)
    written |= comparison(outcome)
    for name, text in written.items():
        files.write(prepared.folder / name, text)
    return list(written)


def trial_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return a row per trial: unscaled, of the validation split alone."""
    return [
        {
            "recipe": search.label,
            "trial": trial.number,
            "state": trial.state,
            f"validation_{outcome.prepared.by.key}": trial.figure,
            **trial.values,
            "why": trial.why,
        }
        for search in outcome.prepared.searches
        for trial in outcome.trials[search.label]
    ]


def best_file(outcome: Outcome, search: Search) -> str:
    """Return the name of the file that a search's best recipe is in."""
    return "best.yaml" if len(outcome.prepared.searches) == 1 else f"best-{search.label}.yaml"


def runnable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe in a form in which one `seed` is of all stages, as it is where a recipe is written."""
    if "stages" not in recipe:
        return dict(recipe)
    stages: Mapping[str, Mapping[str, Any]] = recipe["stages"]
    sequence, seed = sequence_of(stages), list(stages.values())[-1]["seed"]
    # a stage with a seed of its own keeps it
    left = {
        name: {key: value for key, value in stage.items() if key != "seed" or not (sequence or value == seed)}
        for name, stage in stages.items()
    }
    notes = {key: value for key, value in recipe.items() if key != "stages"}
    return notes | {"seed": seed} | sequence | {"stages": left}


def comparison(outcome: Outcome) -> dict[str, str]:
    """Return the files of a study of the best recipes against each other and a baseline, by name; none without two.

    The baseline is a recipe of the search that learns from labels alone, or else what each recipe would be without its
    method, which was not searched.
    """
    found = {search.label: search for search in outcome.prepared.searches if outcome.best(search.label) is not None}
    recipes = {label: best_file(outcome, search) for label, search in found.items()}
    written: dict[str, str] = {}
    against: dict[str, str] = {}
    plain = [label for label, search in found.items() if labels_alone(search.stage)]
    known: dict[str, str] = {}
    for label, search in found.items():
        if plain:
            against[label] = plain[0]
            continue
        tree = {**search.stage, "method": "cross_entropy", "matchers": [], "peers": [], "teacher": None}
        content = json.dumps({key: value for key, value in tree.items() if key != "reference"}, sort_keys=True)
        if content not in known:
            name = "baseline" if not known and "baseline" not in found else f"{label}-baseline"
            known[content], recipes[name] = name, f"{name}.yaml"
            about = {"description": f"{search.recipe} without its method: labels alone, as written."}
            written[f"{name}.yaml"] = write(about | tree)
        against[label] = known[content]
    if len(recipes) == 1:
        label, search = next(iter(found.items()))
        best = outcome.best(label)
        if best is None or best.values == search.own:
            return {}
        about = {"description": f"{search.recipe} as written."}
        written["as-written.yaml"] = write(about | runnable(search.base))
        recipes["as-written"], against[label] = "as-written.yaml", "as-written"
    if not found:
        return {}
    # the baselines first, as tables have them
    cells = {label: {"recipe": recipes[label]} for label in dict.fromkeys([*against.values(), *found])}
    study = {
        "description": f"{outcome.prepared.name}, each as tuned with {outcome.prepared.trials} trials, on fresh seeds.",
        "recipe": next(iter(recipes.values())),
        "cells": cells,
        "seeds": _fresh(outcome),
        "threads": outcome.prepared.threads,
        "claims": _claims(outcome, found, against),
    }
    return written | {STUDY: write(study)}


def labels_alone(stage: Mapping[str, Any]) -> bool:
    """Say whether a stage is a baseline: one student that learns from labels."""
    return stage["method"]["name"] == "cross_entropy" and not stage["matchers"] and not stage["peers"]


def _fresh(outcome: Outcome) -> list[int]:
    """Return seeds that no trial had."""
    first = 1 + max(search.stage["seed"] % SEEDS_APART for search in outcome.prepared.searches)
    return list(range(first, first + SEEDS))


def _claims(outcome: Outcome, found: Mapping[str, Search], against: Mapping[str, str]) -> list[str]:
    """Return that each recipe is better than its baseline, and that the best of them is better than the others."""

    def shown(label: str) -> str:
        who = "student-0:" if label in found and found[label].several else ""
        return f"{who}{outcome.prepared.by.key}({label})"

    claims = [f"{shown(label)} < {shown(other)}" for label, other in against.items() if label != other]
    rivals = [label for label in found if against.get(label) != label]
    figures = {label: best.figure for label in rivals if (best := outcome.best(label)) is not None}
    first = min(figures, key=lambda label: (figures[label], rivals.index(label)), default=None)
    return claims + [f"{shown(first)} < {shown(label)}" for label in rivals if first is not None and label != first]
