"""Time and memory of the metrics on a large test set: `benchmarks/metrics.py [--rows N] [--classes K]`.

Each function runs in a fresh process, whose peak of resident memory is then its own. The target: input and
all that is needed besides stay within twice the input. The time is the best of three calls.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from limbeck.metrics import aurc, confidences, ece, nll, summary

Scores: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]

MEGABYTE = 1e6


def measure_nll(logits: Scores, labels: Labels) -> float:
    return nll(logits, labels)


def measure_ece(probs: Scores, labels: Labels) -> float:
    return ece(probs, labels)


def measure_aurc(probs: Scores, labels: Labels) -> float:
    return aurc(*confidences(probs, labels))


def measure_summary(logits: Scores, labels: Labels) -> float:
    return summary(logits, labels)["nll"]


FUNCTIONS: dict[str, Callable[[Scores, Labels], float]] = {
    "nll": measure_nll,
    "ece": measure_ece,
    "aurc": measure_aurc,
    "summary": measure_summary,
}
FROM_PROBABILITIES = ("ece", "aurc")


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def random_input(rows: int, classes: int, *, probabilities: bool) -> tuple[Scores, Labels]:
    """Draw logits, or their softmax, with no more memory than the result takes."""
    rng = np.random.default_rng(0)
    scores = np.empty((rows, classes), dtype=np.float32)
    rng.standard_normal(dtype=np.float32, out=scores)
    if probabilities:
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
    return scores, rng.integers(0, classes, size=rows)


def timed(function: Callable[[Scores, Labels], float], scores: Scores, labels: Labels) -> float:
    start = time.perf_counter()
    function(scores, labels)
    return time.perf_counter() - start


def run_one(name: str, rows: int, classes: int) -> None:
    """Measure one function in this process and print the figures as JSON."""
    probabilities = name in FROM_PROBABILITIES
    # A first small call loads what is loaded only once, which is no cost of the input's size.
    FUNCTIONS[name](*random_input(100, classes, probabilities=probabilities))
    before = peak_memory()
    scores, labels = random_input(rows, classes, probabilities=probabilities)
    seconds = min(timed(FUNCTIONS[name], scores, labels) for _ in range(3))
    size = scores.nbytes + labels.nbytes
    print(json.dumps({"seconds": seconds, "input": size, "total": peak_memory() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description="time and memory of the metrics")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--only", choices=FUNCTIONS, help="measure this one here and print JSON")
    options = parser.parse_args()
    if options.only:
        run_one(options.only, options.rows, options.classes)
        return
    print(f"{options.rows:,} x {options.classes} float32; memory above what the imports take\n")
    print("| function | seconds | input MB | input + peak extra MB | of the input |")
    print("|---|---|---|---|---|")
    for name in FUNCTIONS:
        shape = ["--rows", str(options.rows), "--classes", str(options.classes)]
        command = [sys.executable, __file__, "--only", name, *shape]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size, total = answer["input"], answer["total"]
        figures = f"{answer['seconds']:.2f} | {size / MEGABYTE:.0f} | {total / MEGABYTE:.0f}"
        print(f"| {name} | {figures} | {total / size:.2f} |")


if __name__ == "__main__":
    main()
