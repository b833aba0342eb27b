"""What a method's training step costs, as a ratio to the bare network's, measured in one run.

Floor: forward, backward and SGD of a bare ResNet-20 on 32 × 32 images, batch 128, tensors resident, in the faster
memory format. A step here is everything the training loop does, data and views (pad-and-crop, flip) included. The
contestants take turns, so that a machine that drifts drifts for all; each ratio is the median over rounds of
(contestant / floor of the same round).

    python benchmarks/step.py [--rounds 15] [--steps 6] [--device cuda --precision bf16-mixed --compile] [--out FILE]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from limbeck.core import Objective, Peers
from limbeck.core.writer import TargetWriter
from limbeck.data.examples import Examples, Members
from limbeck.data.resident import ResidentExamples
from limbeck.data.views import Flip, PadCrop
from limbeck.models import ModelSpec, build_model
from limbeck.targets import CSKD, PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg
from limbeck.tasks import Classification
from limbeck.teachers import Teacher
from limbeck.train.checkpoint import Checkpoints
from limbeck.train.loop import Session, Training, train_epoch
from limbeck.train.optimisers import SGD, build
from limbeck.train.rates import Cosine
from limbeck.train.record import Sums
from limbeck.train.runtime import Runtime
from limbeck.train.state import State

CLASSES, BATCH, EPOCHS = 100, 128, 10**6
FLOOR = "floor: bare ResNet-20"
# What a method has to do beside the floor, whoever implements it.
FLOORS = {"KD": "floor + ResNet-56 teacher's forward", "CS-KD": "floor + a second forward without gradient"}
METHODS: dict[str, TargetWriter] = {
    "cross-entropy": CrossEntropy(),
    "label smoothing": LabelSmoothing(),
    "Tf-KD reg": TfKDReg(),
    "PS-KD": PSKD(0.8),
    "CS-KD": CSKD(),
    "KD": Hinton(),
}


def main() -> None:
    options = parse()
    runtime = Runtime(options.device, 1, 1, options.precision)
    channels_last = faster_format(runtime, options.compile)
    steps = options.steps
    taught = teacher(runtime, channels_last)
    work = {
        FLOOR: repeated(bare(runtime, options.compile, channels_last), steps),
        FLOORS["KD"]: repeated(bare(runtime, options.compile, channels_last, lambda _, view: taught(view)), steps),
        FLOORS["CS-KD"]: repeated(bare(runtime, options.compile, channels_last, again), steps),
    }
    with TemporaryDirectory() as folder:
        for name, method in METHODS.items():
            own = taught if method.needs.teacher else None
            session = whole(method, own, runtime, options.compile, channels_last, steps, Path(folder))
            work[name] = rounds_of(session)
        times = measure(work, options.rounds, runtime)
    text = report(times, steps, runtime, options, channels_last)
    print(text)
    if options.out:
        options.out.write_text(text)


def parse() -> argparse.Namespace:
    parser = steps_parser(__doc__, steps=6)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def steps_parser(about: str | None, steps: int) -> argparse.ArgumentParser:
    """Return what every benchmark of training steps can be told."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed", "16-mixed"])
    parser.add_argument("--out", type=Path)
    return parser


def network(runtime: Runtime, compiled: bool, channels_last: bool) -> nn.Module:
    torch.manual_seed(0)
    net = build_model(ModelSpec("resnet20"), CLASSES, 3).to(runtime.device)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    if compiled:
        net.compile()
    return net


def teacher(runtime: Runtime, channels_last: bool) -> Teacher:
    net = build_model(ModelSpec("resnet56"), CLASSES, 3).to(runtime.device)
    return Teacher(net.to(memory_format=torch.channels_last) if channels_last else net)


@torch.no_grad()
def again(net: nn.Module, images: torch.Tensor) -> None:
    """Run the student a second time."""
    net(images)


def bare(
    runtime: Runtime,
    compiled: bool,
    channels_last: bool,
    beside: Callable[[nn.Module, torch.Tensor], object] | None = None,
) -> Callable[[], None]:
    """Return a step of the network alone, and of what comes beside it."""
    net = network(runtime, compiled, channels_last)
    optimiser = SGD(0.1).build(net.parameters())
    images = torch.randn(BATCH, 3, 32, 32, device=runtime.device)
    images = images.to(memory_format=torch.channels_last) if channels_last else images
    labels = torch.randint(0, CLASSES, (BATCH,), device=runtime.device)

    def step() -> None:
        with runtime.fabric.autocast():
            if beside is not None:
                beside(net, images)
            loss = nn.functional.cross_entropy(net(images).float(), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def faster_format(runtime: Runtime, compiled: bool) -> bool:
    """Return whether channels-last is the faster memory format for the bare network here."""
    times = []
    for channels_last in (False, True):
        step = bare(runtime, compiled, channels_last)
        step()
        times.append(min(timed(repeated(step, 3), runtime) for _ in range(3)))
    return times[1] < times[0]


def examples(count: int, device: torch.device) -> ResidentExamples:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    members = Members(np.arange(count), np.arange(count) % CLASSES, count, tuple(map(str, range(CLASSES))))
    mean, std = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)
    return ResidentExamples(pixels, members, mean=mean, std=std, views=(PadCrop(4), Flip()), device=device)


def whole(
    method: TargetWriter,
    taught: Teacher | None,
    runtime: Runtime,
    compiled: bool,
    channels_last: bool,
    steps: int,
    folder: Path,
) -> Session:
    """Return a session of the training loop itself."""
    net = network(runtime, compiled, channels_last)
    objective = Objective(Peers([net]), method, Classification(), taught, steps * BATCH)
    return session_of(objective, examples(steps * BATCH, runtime.device), BATCH, runtime, channels_last, folder)


def session_of(
    objective: Objective, train: Examples, batch: int, runtime: Runtime, channels_last: bool, folder: Path
) -> Session:
    """Return what the training loop works with."""
    trained = [*objective.cohort.parts, *(adapter for _, adapter in objective.adapters)]
    model, stepper = runtime.setup(objective, build([SGD(0.1)] * len(trained), trained))
    training = Training(epochs=EPOCHS, batch_size=batch, channels_last=channels_last)
    state = State(objective, stepper, runtime, None)
    return Session(model, stepper, state, Checkpoints(folder, print), train, None, Cosine(), training, 0, runtime)


def rounds_of(session: Session) -> Callable[[], None]:
    """Return a function that runs one epoch of the training loop: a round."""

    def one() -> None:
        train_epoch(session)
        session.state.objective.after_epoch()
        session.state.epoch, session.state.batch, session.state.sums = session.state.epoch + 1, 0, Sums()

    return one


def repeated(step: Callable[[], None], steps: int) -> Callable[[], None]:
    """Return a function that runs as many bare steps as a round has."""

    def several() -> None:
        for _ in range(steps):
            step()

    return several


def timed(work: Callable[[], None], runtime: Runtime) -> float:
    """Return seconds, with the device's queue empty before and after."""
    finish(runtime)
    started = time.perf_counter()
    work()
    finish(runtime)
    return time.perf_counter() - started


def finish(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize()


def measure(work: dict[str, Callable[[], None]], rounds: int, runtime: Runtime) -> dict[str, list[float]]:
    """Return each contestant's seconds per round; they take turns."""
    for one in work.values():
        one()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            times[name].append(timed(one, runtime))
    return times


def report(times: dict[str, list[float]], steps: int, runtime: Runtime, options: argparse.Namespace, last: bool) -> str:
    """Return the Markdown table."""
    rows = []
    for name, seconds in times.items():
        floor = times[FLOORS.get(name, FLOOR)]
        ratios = [a / b for a, b in zip(seconds, floor, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        against = {"KD": "floor + teacher", "CS-KD": "floor + second forward"}.get(name, "floor")
        cost = f"{1000 * statistics.median(seconds) / steps:.2f}"
        rows.append(f"| {name} | {cost} | {against} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else f"{platform.machine()} CPU"
    return "\n".join(
        [
            f"ResNet-20, batch {BATCH}, 32 × 32, {CLASSES} classes; {where}, {torch.get_num_threads()} threads, torch "
            f"{torch.__version__}, {options.precision}, {'compiled, ' if options.compile else ''}"
            f"{'channels-last' if last else 'contiguous'}; {options.rounds} rounds of {steps} steps.",
            "",
            "| training step | ms | against | ratio, median | middle half of the rounds |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
