"""What memories cost: of past predictions (PS-KD) and of a teacher's answers (KD), in time and in room.

    python benchmarks/memory.py step      PS-KD's step against cross-entropy's, for every home and format of the bank
    python benchmarks/memory.py replay    KD's step with a cache of the teacher's answers: replayed, and recorded
    python benchmarks/memory.py imagenet  an epoch of a bank of ImageNet-1k's size on the disk, against a plain copy

A step is everything the training loop does, data and views included. Contestants take turns, so that a machine that
drifts drifts for all; each ratio is the median over rounds of (contestant / cross-entropy of the same round), of the
time that passed and of the processor's time, which other work on the machine disturbs less. A round is a piece of one
long epoch, before which the memory was filled; what comes once an epoch is measured by itself.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from imagenet_bank import epochs_on_disk
from step import finish, session_of, teacher, timed

from limbeck.core import Batch, Clock, Objective, Output, Peers, Room, Step, Units
from limbeck.core.objective import Teacher as Answering
from limbeck.core.writer import TargetWriter
from limbeck.data.examples import Members, Round
from limbeck.data.resident import ResidentExamples
from limbeck.data.views import Flip, PadCrop, View
from limbeck.memory.bank import PredictionBank
from limbeck.memory.formats import Format, format_of
from limbeck.memory.logits import logits_format
from limbeck.memory.sizes import PLACES, Place
from limbeck.models import ModelSpec, build_model
from limbeck.targets import PSKD, CrossEntropy, Hinton, LabelSmoothing
from limbeck.tasks import Classification
from limbeck.teachers.replay import ReplayedTeacher
from limbeck.train.checkpoint import Checkpoints
from limbeck.train.loop import train_epoch
from limbeck.train.runtime import Runtime

FLOOR, ASKED, ALONE = "cross-entropy", "KD, teacher asked", "teacher's forward alone"


class Load(NamedTuple):
    """A network and its data.

    Attributes:
        name: how the tables call it.
        model: the student.
        classes: how many there are.
        shape: of an image.
        views: random views.
        batch: examples in a step.
        examples: in the recipe's epoch, for what comes once an epoch.
        top_k: of the compressed formats.
        steps: in a round.
    """

    name: str
    model: ModelSpec
    classes: int
    shape: tuple[int, int, int]
    views: tuple[View, ...]
    batch: int
    examples: int
    top_k: int
    steps: int


RESNET = Load(
    "ResNet-20, 32 × 32, 100 classes",
    ModelSpec("resnet20"),
    classes=100,
    shape=(3, 32, 32),
    views=(PadCrop(4), Flip()),
    batch=128,
    examples=50_000,
    top_k=16,
    steps=2,
)
DIGITS = Load(
    "the digits recipes' network (cnn, width 8), 8 × 8, 10 classes",
    ModelSpec("cnn", {"width": 8}),
    classes=10,
    shape=(1, 8, 8),
    views=(PadCrop(1),),
    batch=50,
    examples=300,
    top_k=4,
    steps=40,
)


class Spent(NamedTuple):
    """Seconds that passed, and that the process was at work."""

    passed: float
    worked: float


class Pieces(ResidentExamples):
    """Examples whose epoch is handed out in pieces, so that a round can be much shorter than an epoch."""

    steps_in_piece = 1

    def epoch(self, epoch: int, *, start: int = 0, **how: Any) -> Iterator[Round]:
        """Return the next piece of the epoch."""
        if start == 0:
            self._rest = super().epoch(epoch, start=0, **how)
        return islice(self._rest, self.steps_in_piece)


def main() -> None:
    options = parse()
    with TemporaryDirectory(dir=options.folder) as folder:
        text = PARTS[options.part](options, Path(folder))
    print(text)
    if options.out:
        options.out.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--network", choices=["resnet20", "digits"], help="of step; both without it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where files are made for the time of the measurement")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def of_steps(options: argparse.Namespace, folder: Path) -> str:
    """Measure PS-KD for every home and format of what it remembers, on a small and on a tiny network.

    Label smoothing, which has a second target and no memory, says how much of it is the equation.
    """
    runtime = Runtime(options.device, 1, 1, "32-true")
    text = [machine(options, runtime)]
    loads = {"resnet20": (RESNET, options.rounds), "digits": (DIGITS, 4 * options.rounds)}
    for load, rounds in loads.values() if options.network is None else [loads[options.network]]:
        writers: dict[str, TargetWriter] = {FLOOR: CrossEntropy(), "label smoothing": LabelSmoothing()}
        formats: list[tuple[str, int | None]] = [("float32", None), ("float16", None), ("float16", load.top_k)]
        for place in PLACES:
            for dtype, top_k in formats:
                method = PSKD(0.8, bank=place, dtype=dtype, top_k=top_k)  # type: ignore[arg-type]
                writers[f"PS-KD, {place}, {format_of(method.dtype, top_k)}"] = method
        writers["PS-KD, memory: model"] = PSKD(0.8, memory="model")
        work = {
            name: contestant(writer, None, load, rounds, runtime, folder / f"{load.batch}-{name}")
            for name, writer in writers.items()
        }
        times = measure(work, rounds, runtime)
        text += ["", f"{load.name}, batch {load.batch}; {rounds} rounds of {load.steps} steps:", ""]
        text += table(times, load.steps, {})
        text += ["", f"Once an epoch, a bank of {load.examples:,} rows:", ""]
        text += ["| bank | first row of an epoch, ms | end of an epoch, ms | its part of a checkpoint, ms |"]
        text += ["|---|---|---|---|"]
        for place in PLACES:
            for dtype, top_k in formats:
                kind = format_of(dtype, top_k)  # type: ignore[arg-type]
                text.append(f"| {place}, {kind} | {once_an_epoch(load, place, kind, folder, runtime)} |")
    return "\n".join([*text, ""])


def contestant(
    writer: TargetWriter, taught: Answering | None, load: Load, rounds: int, runtime: Runtime, folder: Path
) -> Callable[[], None]:
    """Return a function that runs a piece of an epoch of the training loop; the epoch before it has been remembered."""
    torch.manual_seed(0)
    net = build_model(load.model, load.classes, load.shape[0]).to(runtime.device)
    net.to(memory_format=torch.channels_last)
    count = pieces(load, rounds)
    room = Room(count, load.classes, folder)
    objective = Objective(Peers([net]), writer, Classification(), taught, room)
    train = examples(load, count, runtime)
    session = session_of(objective, train, load.batch, runtime, True, folder)
    for ids in torch.arange(count, device=runtime.device).split(load.batch):
        labels = ids % load.classes
        batch = Batch(ids, (), labels)
        units = Units(torch.randn(len(ids), load.classes, device=runtime.device), labels, ids)
        objective.after(Step(batch, Clock(0, 1), [units], None))
    objective.after_epoch()
    session.state.epoch = 1
    return lambda: train_epoch(session)


def pieces(load: Load, rounds: int) -> int:
    """Return the number of examples of an epoch that is long enough for all rounds and the one before them."""
    return (rounds + 1) * load.steps * load.batch


def examples(load: Load, count: int, runtime: Runtime) -> Pieces:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *load.shape), dtype=np.uint8))
    members = Members(np.arange(count), np.arange(count) % load.classes, count, tuple(map(str, range(load.classes))))
    mean, std = (0.5,) * load.shape[0], (0.25,) * load.shape[0]
    found = Pieces(pixels, members, mean=mean, std=std, views=load.views, device=runtime.device)
    found.steps_in_piece = load.steps
    return found


def once_an_epoch(load: Load, place: Place, kind: Format, folder: Path, runtime: Runtime) -> str:
    """Return the cells of what a bank does once an epoch: medians of five."""
    own = folder / f"{load.examples}-{place}-{kind}"
    bank = PredictionBank(Room(load.examples, load.classes, own), place, kind)
    checkpoints = Checkpoints(own / "checkpoints", print)
    said = torch.randn(load.batch, load.classes, device=runtime.device).softmax(1)
    begins, ends, saves = [], [], []
    for step in range(6):
        order = torch.randperm(load.examples, device=runtime.device)
        first, *rest = order.split(load.batch)
        begins.append(timed(lambda ids=first: bank.record(ids, said[: len(ids)]), runtime))  # type: ignore[misc]
        for ids in rest:
            bank.record(ids, said[: len(ids)])
        ends.append(timed(bank.turn, runtime))
        saves.append(timed(lambda step=step: checkpoints.save(bank.state_dict(), step), runtime))  # type: ignore[misc]
    return " | ".join(f"{1000 * statistics.median(times[1:]):.2f}" for times in (begins, ends, saves))


def of_replay(options: argparse.Namespace, folder: Path) -> str:
    """Measure KD from ResNet-56 with and without a cache of its answers."""
    runtime = Runtime(options.device, 1, 1, "32-true")
    load, taught = RESNET, teacher(runtime, True)
    count = pieces(load, options.rounds)
    ids = np.arange(count)

    def cached(where: str, dtype: str, top_k: int | None, asked: Answering) -> ReplayedTeacher:
        kind = logits_format(dtype, top_k)  # type: ignore[arg-type]
        return ReplayedTeacher(asked, folder / where, ids, load.classes, 1, kind, {})

    teachers: dict[str, Answering | None] = {FLOOR: None, ASKED: taught}
    for dtype, top_k in (("float32", None), ("float16", None), ("float16", load.top_k)):
        where = f"{dtype}-{top_k}"
        full = cached(where, dtype, top_k, AnyTeacher(load.classes))
        for some in torch.from_numpy(ids).split(1024):
            full.fill(Batch(some, (some,), some % load.classes), 0, 0)
        full.after_epoch()
        name = format_of(dtype, top_k)  # type: ignore[arg-type]
        teachers[f"KD, replayed, {name}"] = cached(where, dtype, top_k, taught)
        teachers[f"KD, recording, {name}"] = cached(f"empty-{where}", dtype, top_k, taught)
    work = {
        name: contestant(
            CrossEntropy() if one is None else Hinton(), one, load, options.rounds, runtime, folder / f"run-{name}"
        )
        for name, one in teachers.items()
    }
    view = torch.randn(load.batch, *load.shape, device=runtime.device).to(memory_format=torch.channels_last)

    def alone() -> None:
        for _ in range(load.steps):
            taught(view)

    work[ALONE] = alone
    times = measure(work, options.rounds, runtime)
    both = "cross-entropy + teacher's forward"
    times[both] = [
        Spent(a.passed + b.passed, a.worked + b.worked) for a, b in zip(times[FLOOR], times[ALONE], strict=True)
    ]
    against = {name: both for name in times if name == ASKED or "recording" in name}
    lines = [machine(options, runtime), "", f"{load.name}, batch {load.batch}, taught by ResNet-56; "]
    lines[-1] += f"{options.rounds} rounds of {load.steps} steps:"
    return "\n".join([*lines, "", *table(times, load.steps, against), ""])


class AnyTeacher:
    """Answers at random, to fill a cache whose content does not matter."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __call__(self, view: torch.Tensor) -> Output:
        """Return random logits."""
        return Output(torch.randn(len(view), self.classes))


def of_imagenet(options: argparse.Namespace, folder: Path) -> str:
    """Measure epochs of a bank of ImageNet-1k's size on the disk."""
    return "\n".join(
        [machine(options, Runtime("cpu", 1, 1, "32-true")), "", *epochs_on_disk(options.rounds, folder), ""]
    )


def machine(options: argparse.Namespace, runtime: Runtime) -> str:
    where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else f"{platform.machine()} CPU"
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}."


def measure(work: dict[str, Callable[[], None]], rounds: int, runtime: Runtime) -> dict[str, list[Spent]]:
    """Return what each contestant needed in each round; they take turns."""
    for one in work.values():
        one()
    times: dict[str, list[Spent]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            finish(runtime)
            before = time.process_time()
            passed = timed(one, runtime)
            times[name].append(Spent(passed, time.process_time() - before))
    return times


def table(times: dict[str, list[Spent]], steps: int, against: dict[str, str]) -> list[str]:
    """Return a Markdown table of ratios per round."""
    head = ["training step", "ms", "against", "ratio, time passed", "middle half", "ratio, processor", "middle half"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, spent in times.items():
        floor = against.get(name, FLOOR)
        cells = [name, f"{1000 * statistics.median(one.passed for one in spent) / steps:.2f}", floor]
        for kind in range(2):
            ratios = [mine[kind] / theirs[kind] for mine, theirs in zip(spent, times[floor], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            cells += [f"{middle:.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


PARTS: dict[str, Callable[[argparse.Namespace, Path], str]] = {
    "step": of_steps,
    "replay": of_replay,
    "imagenet": of_imagenet,
}

if __name__ == "__main__":
    main()
