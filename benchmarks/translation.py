"""What a method's step costs on tokens, as a ratio to the bare network's, and what memory its loss takes.

Floor: forward, backward and AdamW of the bare Transformer with torch's cross-entropy, on batches that lie there. A step
here is what the training loop does, batches included. The contestants take turns; each ratio is the median over rounds
of (contestant / floor of the same round). Memory is what a step of label smoothing and of Tf-KD (reg) takes beyond what
lay there before it: on a GPU by its allocator, on a CPU as the process grew, a process each.

    python benchmarks/translation.py [--rounds 5] [--steps 4] [--device cuda] [--width 128] [--tokens 2000] [--out FILE]
"""

from __future__ import annotations

import argparse
import copy
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from limbeck.core import Clock, Objective, Room
from limbeck.core.writer import TargetWriter
from limbeck.data.text.examples import TextExamples
from limbeck.data.text.sources import Pairs
from limbeck.data.text.tokens import TokenizerChoice
from limbeck.models import ModelSpec, build_model
from limbeck.targets import PSKD, CrossEntropy, LabelSmoothing, TfKDReg
from limbeck.tasks import Translation

METHODS: dict[str, Callable[[], TargetWriter]] = {
    "cross-entropy": CrossEntropy,
    "label smoothing": LabelSmoothing,
    "Tf-KD reg": TfKDReg,
    "PS-KD, bank of 10": lambda: PSKD(alpha=0.5, top_k=10, dtype="float16"),
    "PS-KD, past model": lambda: PSKD(alpha=0.5, memory="model"),
}
FLOOR = "floor: bare Transformer"


def main() -> None:
    options = parse()
    if options.measure is not None:
        print(grown(options))
        return
    examples, network = made(options)
    runs = {FLOOR: floor(network, examples, options)} | {
        name: ours(network, examples, method(), options, 512) for name, method in METHODS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):  # the first is to warm up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            waited(options.device)
            if turn:
                times[name].append(time.perf_counter() - start)
    rows = ["| contestant | ms a step | ratio to the floor |", "| --- | --- | --- |"]
    for name, taken in times.items():
        ratio = statistics.median(one / base for one, base in zip(taken, times[FLOOR], strict=True))
        rows.append(f"| {name} | {1000 * statistics.median(taken) / options.steps:.1f} | {ratio:.2f} |")
    rows += ["", "| loss | chunk | MB in a step |", "| --- | --- | --- |"]
    for name in ("label smoothing", "Tf-KD reg"):
        for chunk in (0, 512):
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name, "--chunk", str(chunk)]
            size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
            rows.append(f"| {name} | {chunk or 'none'} | {float(size):.0f} |")
    about = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, {options.device}"
    text = "\n".join(
        [f"{about}; width {options.width}, {options.tokens} tokens a step, {len(examples.classes)} in all"]
    )
    text += "\n\n" + "\n".join(rows) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {
        "rounds": 5,
        "steps": 4,
        "width": 128,
        "tokens": 2000,
        "vocabulary": 8000,
        "chunk": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", choices=METHODS)
    return parser.parse_args()


def made(options: argparse.Namespace) -> tuple[TextExamples, nn.Module]:
    """Return sentences of made-up words, of as many tokens as asked for, and a network."""
    chance = random.Random(0)
    words = ["".join(chance.choice("abcdefghijklmnop") for _ in range(chance.randint(3, 9))) for _ in range(6000)]
    lines = [" ".join(chance.choices(words, k=chance.randint(5, 20))) for _ in range(2000)]
    tokens = TokenizerChoice(vocabulary=options.vocabulary).tokens(lines)
    examples = TextExamples(Pairs(lines, lines[::-1], ("", "")), tokens, ("de", "en"), 128, options.device)
    spec = ModelSpec("transformer", {"width": options.width, "layers": 2, "inner": 2 * options.width, "dropout": 0.1})
    torch.manual_seed(0)
    return examples, build_model(spec, len(tokens.pieces), 1).to(options.device)


def floor(network: nn.Module, examples: TextExamples, options: argparse.Namespace) -> Callable[[], None]:
    network = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    batches = cycle(
        [one.parts[0] for one in islice(examples.epoch(0, batch_size=options.tokens, seed=0), options.steps)]
    )

    def run() -> None:
        for batch in islice(batches, options.steps):
            loss = functional.cross_entropy(network(batch.views[0]), batch.labels)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return run


def ours(
    network: nn.Module, examples: TextExamples, method: TargetWriter, options: argparse.Namespace, chunk: int | None
) -> Callable[[], None]:
    room, task = Room(examples.id_space, classes=len(examples.classes)), Translation(chunk=chunk)
    objective = Objective(method.cohort([copy.deepcopy(network)]), method, task, None, room)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-4)
    state = {"epoch": 0}

    def run() -> None:
        rounds = examples.epoch(state["epoch"], batch_size=options.tokens, seed=0)
        for parts, total in islice(rounds, options.steps):
            step = objective(parts[0], Clock(state["epoch"], 10**6))
            assert step.loss is not None
            (step.loss / total).backward()
            objective.after(step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        objective.after_epoch()
        state["epoch"] += 1

    return run


def grown(options: argparse.Namespace) -> float:
    """Return the MB that a step takes beyond what lay there before it."""
    examples, network = made(options)
    options.steps = 1
    run = ours(network, examples, METHODS[options.measure](), options, options.chunk or None)
    if options.device == "cpu":
        # the kernel's peak, begun anew: making the sentences took more than a step does
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        run()
        return resident("VmHWM") - before
    run()
    waited(options.device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def resident(what: str) -> float:
    """Return a line of the kernel's account of this process, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(what)).split()[1]) / 1000


def waited(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
