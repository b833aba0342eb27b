"""What came out of a study: the figures of its finished runs, and the verdicts on its claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.studies.cells import Cell
from limbeck.studies.claims import Claim, Figure
from limbeck.studies.examples import OverExamples, over_examples
from limbeck.studies.study import Study
from limbeck.studies.verdict import Measured, Verdict, judge, measure


class Made(NamedTuple):
    """A finished run.

    Attributes:
        folder: where it is.
        students: unscaled figures, by student, then "last" or "best".
        environment: versions, device, threads.
    """

    folder: Path
    students: dict[str, dict[str, dict[str, float]]]
    environment: dict[str, Any]


class Judged(NamedTuple):
    """A claim with what came out.

    Attributes:
        claim: it.
        verdict: on it.
        differences: D by seed; empty where runs are missing, or are not paired.
        examples: what the test examples say; None where they cannot.
    """

    claim: Claim
    verdict: Verdict
    differences: dict[int, float]
    examples: OverExamples | None


@dataclass(frozen=True)
class Outcome:
    """A study with all that came out of it.

    Attributes:
        name: of the study.
        study: it.
        cells: of the grid.
        runs: the finished ones, by cell and seed.
        failures: why runs failed, by their names.
        judged: its claims.
        command: that made it.
    """

    name: str
    study: Study
    cells: list[Cell]
    runs: dict[str, dict[int, Made]]
    failures: dict[str, str]
    judged: list[Judged]
    command: str

    def values(self, figure: Figure) -> dict[int, float]:
        """Return a figure of a cell's finished runs, by seed, where it was measured."""
        return _values(self.runs, figure)


def read_made(folder: Path) -> Made | None:
    """Return a run, where it is finished.

    Raises:
        LimbeckError: its files are damaged.
    """
    if not (folder / "results.json").exists():
        return None
    results, environment = (files.read_json(folder / name) for name in ("results.json", "environment.json"))
    if not isinstance(results, dict) or "students" not in results or not isinstance(environment, dict):
        raise LimbeckError(f"{folder / 'results.json'} is damaged; remove its folder and train again")
    return Made(folder, results["students"], environment)


def collect(cells: Sequence[Cell], runs: Path, failures: Mapping[str, str]) -> dict[str, dict[int, Made]]:
    """Return the finished runs of a study, by cell and seed; of one that failed, no older result counts."""
    found: dict[str, dict[int, Made]] = {}
    for cell in cells:
        places = {seed: runs / cell.run(seed) for seed in cell.plans if cell.run(seed) not in failures}
        made = {seed: read_made(place) for seed, place in places.items()}
        found[cell.name] = {seed: one for seed, one in made.items() if one is not None}
    return found


def judged(
    study: Study,
    cells: Sequence[Cell],
    claims: Sequence[Claim],
    runs: Mapping[str, Mapping[int, Made]],
    failures: Mapping[str, str],
) -> list[Judged]:
    """Return the verdicts on claims, from finished runs."""
    names = {cell.run(seed): cell.name for cell in cells for seed in cell.plans}
    failed = {names[run]: run for run in failures}
    found: list[tuple[str, dict[int, float], Measured | None]] = []
    for claim in claims:
        why = _missing(claim, runs, failed, study.seeds)
        differences = {} if why else _differences(claim, runs, study.seeds)
        measured = None
        if not why and len(study.seeds) < 2:
            why = "one seed only: no test is made"
        elif not why:
            scale = max(
                (abs(value) for figure in claim.weights for value in _values(runs, figure).values()), default=0.0
            )
            measured = measure(*_samples(claim, runs, study, differences), scale=scale)
        found.append((why, differences, measured))
    signs = [claim.sign for claim in claims]
    pending = sum(_pending(claim, runs, failed, study.seeds) for claim in claims)
    verdicts = judge([measured for _, _, measured in found], signs, study.significance, study.power, pending)
    folders = {cell: {seed: made.folder for seed, made in by_seed.items()} for cell, by_seed in runs.items()}
    return [
        Judged(
            claim,
            replace(verdict, why=why) if why else verdict,
            differences,
            over_examples(claim, folders, study.seeds) if differences else None,
        )
        for claim, verdict, (why, differences, _) in zip(claims, verdicts, found, strict=True)
    ]


def _pending(
    claim: Claim, runs: Mapping[str, Mapping[int, Made]], failed: Mapping[str, str], seeds: Sequence[int]
) -> bool:
    """Say whether a claim is still to be tested, when runs of its cells have come."""
    cells = {figure.cell for figure in claim.weights}
    return not cells & failed.keys() and any(seed not in runs[cell] for cell in cells for seed in seeds)


def _missing(
    claim: Claim, runs: Mapping[str, Mapping[int, Made]], failed: Mapping[str, str], seeds: Sequence[int]
) -> str:
    """Say why a claim cannot be looked at; nothing where it can."""
    for figure in claim.weights:
        if figure.cell in failed:
            return f"not decided: cell {figure.cell} failed (run {failed[figure.cell]})"
        there = _values(runs, figure)
        for seed in seeds:
            if seed not in runs[figure.cell]:
                return f"not decided: cell {figure.cell} has no finished run of seed {seed}"
            if seed not in there:
                label = f"{figure.which} {figure.metric}"
                return f"not decided: cell {figure.cell} has no {label} at seed {seed}"
    return ""


def _values(runs: Mapping[str, Mapping[int, Made]], figure: Figure) -> dict[int, float]:
    found = {
        seed: made.students.get(figure.student or "student", {}).get(figure.which, {}).get(figure.metric)
        for seed, made in runs[figure.cell].items()
    }
    return {seed: value for seed, value in found.items() if value is not None and math.isfinite(value)}


def _differences(claim: Claim, runs: Mapping[str, Mapping[int, Made]], seeds: Sequence[int]) -> dict[int, float]:
    """Return D of each seed."""
    values = {figure: _values(runs, figure) for figure in claim.weights}
    return {
        seed: math.fsum(weight * values[figure][seed] for figure, weight in claim.weights.items()) + claim.constant
        for seed in seeds
    }


def _samples(
    claim: Claim, runs: Mapping[str, Mapping[int, Made]], study: Study, differences: Mapping[int, float]
) -> tuple[list[Float64[np.ndarray, " _"]], float]:
    """Return the independent samples and the constant that `measure` takes."""
    if study.pairing == "seed":
        return [np.array(list(differences.values()))], 0.0
    # figures of one run belong together
    samples: dict[str, Float64[np.ndarray, " _"]] = {}
    for figure, weight in claim.weights.items():
        values = weight * np.array([_values(runs, figure)[seed] for seed in study.seeds])
        samples[figure.cell] = samples.get(figure.cell, 0.0) + values
    return list(samples.values()), claim.constant
