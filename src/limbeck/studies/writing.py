"""The files of a study: study.json, results.csv, verdicts.csv; each whole or not at all."""

from __future__ import annotations

import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from limbeck import files
from limbeck.core.config import fields_of
from limbeck.studies.outcome import Judged, Outcome
from limbeck.studies.verdict import CAP, Verdict

FILE = "study.json"
LIBRARIES = ("limbeck", "torch", "torchvision", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Return what the verdicts were reckoned with; each run's environment.json says what it was trained with."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES}


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write what came out of a study into its folder.

    Raises:
        LimbeckError: a file cannot be written.
    """
    rows = [verdict_row(one) for one in outcome.judged]
    whole = {
        "name": outcome.name,
        "command": outcome.command,
        "versions": versions(),
        "study": fields_of(outcome.study),
        "cells": {
            cell.name: {
                "at": cell.at,
                "runs": {
                    str(seed): outcome.failures.get(cell.run(seed))
                    or ("finished" if seed in outcome.runs[cell.name] else "not finished")
                    for seed in cell.plans
                },
            }
            for cell in outcome.cells
        },
        "claims": [
            {**row, "differences": one.differences, "mcnemar": _mcnemar(one)}
            for row, one in zip(rows, outcome.judged, strict=True)
        ],
    }
    files.write(folder / FILE, json.dumps(whole, indent=2, allow_nan=False) + "\n")
    files.write(folder / "results.csv", str(pd.DataFrame(result_rows(outcome)).to_csv(index=False)))
    files.write(folder / "verdicts.csv", str(pd.DataFrame(rows).to_csv(index=False)))


def result_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return a row per finished run, student and weights: unscaled figures."""
    return [
        {"cell": cell.name, **cell.at, "seed": seed, "student": student, "weights": which, **figures}
        for cell in outcome.cells
        for seed, made in outcome.runs[cell.name].items()
        for student, kinds in made.students.items()
        for which, figures in kinds.items()
    ]


def verdict_row(one: Judged) -> dict[str, Any]:
    """Return a claim's verdict as plain values, unscaled; what is infinite or was not measured is None."""
    verdict, measured, over = one.verdict, one.verdict.measured, one.examples
    ps = [test.p for test in over.mcnemar.values()] if over is not None else []
    row = {
        "claim": one.claim.text,
        "source": one.claim.source,
        "says": one.claim.says,
        "verdict": verdict.decision,
        "why": verdict.why,
        "seeds": len(one.differences),
        "difference": measured.mean if measured else next(iter(one.differences.values()), None),
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "effect_size": measured.effect if measured else None,
        "p": measured.p if measured else None,
        "p_holm": verdict.corrected,
        "p_wilcoxon": measured.wilcoxon if measured else None,
        "more_seeds": more_seeds(verdict),
        "examples_low": over.low if over else None,
        "examples_high": over.high if over else None,
        "mcnemar_p_smallest": min(ps, default=None),
        "mcnemar_p_largest": max(ps, default=None),
    }
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def more_seeds(verdict: Verdict) -> int | str | None:
    """Return how many more seeds would decide a claim, as it is printed; None where it is decided or was not tested."""
    return f"more than {CAP}" if verdict.needed is not None and verdict.needed > CAP else verdict.needed


def _mcnemar(one: Judged) -> dict[int, dict[str, Any]]:
    return {} if one.examples is None else {seed: test._asdict() for seed, test in one.examples.mcnemar.items()}
