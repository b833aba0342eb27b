"""The end of a run: last and best weights are evaluated on the test set, once, and everything is written down."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from limbeck import files
from limbeck.core.cohort import Peers
from limbeck.plain import predictions_file
from limbeck.tasks.classification import ENSEMBLE
from limbeck.train.evaluation import answers
from limbeck.train.job import Job
from limbeck.train.kept import write_weights
from limbeck.train.runtime import Runtime
from limbeck.train.state import State


def finish(job: Job, state: State, folder: Path, runtime: Runtime, seconds: float) -> dict[str, Any]:
    """Write weights, predictions and results, and return the content of results.json."""
    cohort, validation, task = state.cohort, job.splits.validation, job.task
    # a temperature is not judged by the examples that it was fitted to
    judged = job.splits.test is not validation

    def figures(said: Any, fitted: Any) -> dict[str, float]:
        return task.figures(said, fitted if judged else None)

    held_out = [] if validation is None else answers(task, cohort, validation, runtime)
    last = answers(task, cohort, job.splits.test, runtime, full=True)
    # without a validation split there is no best
    best_students = [_with(cohort.alone(i), kept["weights"]) for i, kept in enumerate(state.best)]
    best = answers(task, Peers(best_students), job.splits.test, runtime, full=True) if best_students else []
    best_held_out = answers(task, Peers(best_students), validation, runtime) if best_students and validation else []

    found: dict[str, Any] = {}
    for i, name in enumerate(cohort.names):
        found[name] = {"last": figures(last[i], held_out[i] if held_out else None)}
        arrays = task.arrays(last[i])
        if best:
            found[name]["best"] = {"epoch": state.best[i]["epoch"], **figures(best[i], best_held_out[i])}
            arrays = arrays | _best(task.arrays(best[i]))
            arrays |= {f"validation_{key}": value for key, value in task.arrays(held_out[i]).items()}
        if runtime.first:
            write_weights(folder / f"{name}.safetensors", cohort.alone(i).state_dict(), job.about(i))
            if best:
                write_weights(folder / f"{name}-best.safetensors", state.best[i]["weights"], job.about(i))
            _write_predictions(folder, name, arrays)
            task.write(folder, name, last[i], job.splits.test)
    parameters = {name: _size(cohort.alone(i)) for i, name in enumerate(cohort.names)}
    together = task.together(last) if len(last) > 1 and ENSEMBLE not in found else None
    if together is not None:
        found[ENSEMBLE] = {"last": figures(together, task.together(held_out) if held_out else None)}
        arrays = task.arrays(together)
        if best:
            best_together = task.together(best)
            found[ENSEMBLE]["best"] = figures(best_together, task.together(best_held_out))
            arrays = arrays | _best(task.arrays(best_together))
        parameters[ENSEMBLE] = _size(cohort)
        if runtime.first:
            _write_predictions(folder, ENSEMBLE, arrays)
    results = {"students": found, "epochs": state.epoch, "seconds_of_last_session": round(seconds, 3)}
    results["parameters"] = parameters
    if notes := task.notes(job.splits.test):
        results["notes"] = notes
    if runtime.first:
        files.write(folder / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def _best(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the best weights say, beside what the last ones do."""
    return {f"best_{key}": value for key, value in arrays.items() if key not in {"ids", "labels"}}


def _size(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _write_predictions(folder: Path, name: str, arrays: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    files.write(folder / predictions_file(name), buffer.getvalue())


def _with(student: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(student)
    twin.load_state_dict(dict(weights))
    return twin
