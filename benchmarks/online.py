"""What students cost that learn together, as a ratio to the sum of what each costs alone, measured in one run.

A step is everything that the training loop does, data and views included. Alone each student has such a loop with
cross-entropy. The contestants take turns; each ratio is the median over rounds of (together / sum of the students alone
in the same round). Below it: what building one target of KDCL costs by itself, for five students and 1,000 classes.

    python benchmarks/online.py [--rounds 15] [--steps 4] [--device cuda --precision bf16-mixed] [--out FILE]
"""

from __future__ import annotations

import argparse
import functools
import platform
import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from step import BATCH, CLASSES, examples, measure, repeated, rounds_of, session_of, steps_parser, timed
from torch import nn

from limbeck.core import Objective
from limbeck.core.writer import TargetWriter
from limbeck.models import ModelSpec, build_model
from limbeck.targets import DML, KDCL, ONE, CrossEntropy
from limbeck.targets.kdcl import linear, minlogit, naive
from limbeck.tasks import Classification
from limbeck.train.loop import Session
from limbeck.train.runtime import Runtime

PAIR = ("resnet20", "wrn_16_1")
TOGETHER: dict[str, TargetWriter] = {
    "DML": DML(),
    "DML, alternating": DML(updates="alternating"),
    "KDCL naive": KDCL("naive"),
    "KDCL linear": KDCL("linear"),
    "KDCL MinLogit": KDCL("minlogit"),
    "KDCL general": KDCL("general"),
    "KDCL MinLogit, one view": KDCL("minlogit", views="shared"),
}
STUDENTS, MANY_CLASSES, LARGE_BATCH = 5, 1000, 256


def main() -> None:
    options = steps_parser(__doc__, steps=4).parse_args()
    runtime = Runtime(options.device, 1, 1, options.precision)
    with TemporaryDirectory() as folder:
        start = functools.partial(session, runtime=runtime, steps=options.steps, folder=Path(folder))
        alone = {f"{name} alone": rounds_of(start(CrossEntropy(), (name,))) for name in PAIR}
        together = {name: rounds_of(start(method, PAIR)) for name, method in TOGETHER.items()}
        branches = {"ONE, 3 branches": rounds_of(start(ONE(branches=3, weight=1.0), PAIR[:1] * 3))}
        times = measure(alone | together | branches, options.rounds, runtime)
    text = report(times, list(alone), options, runtime) + targets(options.rounds, runtime)
    print(text)
    if options.out:
        options.out.write_text(text)


def session(method: TargetWriter, names: tuple[str, ...], runtime: Runtime, steps: int, folder: Path) -> Session:
    """Return a training loop of these students."""
    networks: list[nn.Module] = []
    for i, name in enumerate(names):
        torch.manual_seed(i)
        net = build_model(ModelSpec(name), CLASSES, 3).to(runtime.device)
        networks.append(net.to(memory_format=torch.channels_last))
    cohort = method.cohort(networks).to(runtime.device)
    objective = Objective(cohort, method, Classification(), None, steps * BATCH)
    return session_of(objective, examples(steps * BATCH, runtime.device), BATCH, runtime, True, folder)


def report(times: dict[str, list[float]], alone: list[str], options: argparse.Namespace, runtime: Runtime) -> str:
    """Return the Markdown table of the steps."""
    floor = [sum(parts) for parts in zip(*(times[name] for name in alone), strict=True)]
    rows = []
    for name, seconds in times.items():
        low, middle, high = statistics.quantiles([a / b for a, b in zip(seconds, floor, strict=True)], n=4)
        cost = f"{1000 * statistics.median(seconds) / options.steps:.2f}"
        rows.append(f"| {name} | {cost} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else f"{platform.machine()} CPU"
    return "\n".join(
        [
            f"{' and '.join(PAIR)}, batch {BATCH}, 32 × 32, {CLASSES} classes; {where}, {torch.get_num_threads()} "
            f"threads, torch {torch.__version__}, {options.precision}; {options.rounds} rounds of {options.steps} "
            "steps.",
            "",
            "| training step | ms | ratio to both alone, median | middle half of the rounds |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Largest resident memory of the whole process: {peak(runtime) / 1e6:,.0f} MB.",
            "",
            "",
        ]
    )


def peak(runtime: Runtime) -> int:
    """Return the largest memory that was held, in bytes."""
    if runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def targets(rounds: int, runtime: Runtime) -> str:
    """Return the Markdown table of what building a target costs."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(STUDENTS, LARGE_BATCH, MANY_CLASSES, generator=generator)
    labels = torch.randint(0, MANY_CLASSES, (LARGE_BATCH,), generator=generator)
    logits, labels = logits.to(runtime.device), labels.to(runtime.device)
    work: dict[str, Callable[[], None]] = {
        name: repeated(functools.partial(built, build, logits, labels), 5)
        for name, build in {"naive": naive, "linear": linear, "MinLogit": minlogit}.items()
    }
    rows = []
    for name, one in work.items():
        one()
        rows.append(f"| {name} | {1000 * statistics.median(timed(one, runtime) for _ in range(rounds)) / 5:.2f} |")
    return "\n".join(
        [
            f"Building one target, {STUDENTS} students, {LARGE_BATCH} images, {MANY_CLASSES:,} classes:",
            "",
            "| ensemble | ms |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def built(
    build: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], logits: torch.Tensor, labels: torch.Tensor
) -> None:
    build(logits, labels)


if __name__ == "__main__":
    main()
