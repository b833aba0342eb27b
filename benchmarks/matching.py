"""What matching representations costs, as a ratio to what nobody can leave out, measured in one run.

Floor of a matcher: forward, backward and SGD of a bare ResNet-20 on 32 × 32 images, batch 128, tensors resident; the
forward pass of its teacher, a ResNet-56; and forward, backward and SGD of the modules between the two (with a coder
also its forward pass on the teacher's features), each measured alone. A step is everything that the training loop does,
data and views included, but not the first one of an epoch, which has one more backward pass for the gradient shares:
that is the last row. All take turns; each ratio is the median over rounds of (step / its floor in the same round).

Memory is the peak within a step above its beginning: of torch's allocations by the profiler on a CPU, by
torch.cuda.max_memory_allocated on CUDA.

    python benchmarks/matching.py [--rounds 15] [--steps 4] [--device cuda --precision bf16-mixed] [--out FILE]
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from step import (
    BATCH,
    CLASSES,
    FLOOR,
    bare,
    examples,
    faster_format,
    measure,
    network,
    repeated,
    session_of,
    steps_parser,
    teacher,
)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from limbeck.core import Objective, Peers
from limbeck.core.batch import Clock
from limbeck.core.comparison import Link
from limbeck.core.matcher import Matcher
from limbeck.core.writer import TargetWriter
from limbeck.matching import (
    AttentionTransfer,
    Coder,
    Connector,
    FactorTransfer,
    FitNet,
    InheritExplore,
    Overhaul,
    Regressor,
    Translator,
)
from limbeck.targets import CrossEntropy, Hinton
from limbeck.tasks import Classification
from limbeck.train.loop import Session, train_epoch
from limbeck.train.optimisers import SGD
from limbeck.train.record import Sums
from limbeck.train.runtime import Runtime

SHAPE = (3, 32, 32)
BETWEEN = (Regressor, Translator, Coder, Connector)
TEACHER, KD, FIRST = "ResNet-56 teacher's forward", "KD", "AT, the first step of an epoch"
MATCHERS: dict[str, Callable[[], Matcher]] = {
    "FitNet": FitNet,
    "AT": AttentionTransfer,
    "FT": FactorTransfer,
    "OD": Overhaul,
    "IE-AT": lambda: InheritExplore(AttentionTransfer()),
    "IE-FT": lambda: InheritExplore(FactorTransfer(weight=50.0, coder="autoencoder")),
}


def main() -> None:
    options = steps_parser(__doc__, steps=4).parse_args()
    runtime = Runtime(options.device, 1, 1, options.precision)
    last = faster_format(runtime, False)
    view = torch.randn(BATCH, *SHAPE, device=runtime.device)
    view = view.to(memory_format=torch.channels_last) if last else view
    taught = teacher(runtime, last)

    def ask() -> None:
        with runtime.fabric.autocast():
            taught(view)

    floors = {FLOOR: bare(runtime, False, last), TEACHER: ask}
    with TemporaryDirectory() as place:
        folder = Path(place)
        steps = {KD: session(Hinton(), [], runtime, last, options.steps, folder)}
        for name, make in MATCHERS.items():
            steps[name] = session(CrossEntropy(), [make()], runtime, last, options.steps, folder)
            floors[between(name)] = alone(steps[name], runtime, last)
        work = {name: repeated(step, options.steps) for name, step in floors.items()}
        work |= {name: rounds_of(one) for name, one in steps.items()}
        first = session(CrossEntropy(), [AttentionTransfer()], runtime, last, 0, folder)
        work[FIRST] = repeated(rounds_of(first), options.steps)
        times = measure(work, options.rounds, runtime)
        peaks = {name: peak(work[name], runtime) for name in steps}
    text = report(times, peaks, options, runtime, last)
    print(text)
    if options.out:
        options.out.write_text(text)


def between(name: str) -> str:
    """Return how the modules that a matcher trains are called among the floors."""
    return f"between the two, of {name}"


def session(
    method: TargetWriter, matchers: Sequence[Matcher], runtime: Runtime, last: bool, steps: int, folder: Path
) -> Session:
    """Return a training loop of the student, with one batch more than is measured: the first of an epoch."""
    net, taught = network(runtime, False, last), teacher(runtime, last)
    count = (steps + 1) * BATCH
    objective = Objective(Peers([net]), method, Classification(), taught, count, matchers, SHAPE)
    for link in objective.comparison.links if objective.comparison is not None else ():
        if (coding := link.matcher.coding()) is not None:
            # untrained ones cost the same
            link.matcher.take(coding.coder.get_submodule("encoder").to(runtime.device))
    return session_of(objective, examples(count, runtime.device), BATCH, runtime, last, folder)


def rounds_of(one: Session) -> Callable[[], None]:
    """Return a function that runs an epoch but its first step, if it has others."""
    state, skipped = one.state, min(1, one.train.steps(BATCH) - 1)

    def several() -> None:
        state.batch, state.step = skipped, state.step + skipped
        train_epoch(one)
        state.objective.after_epoch()
        state.epoch, state.sums = state.epoch + 1, Sums()

    return several


def alone(one: Session, runtime: Runtime, last: bool) -> Callable[[], None]:
    """Return a step of what stands between student and teacher: the trained modules, and a coder's frozen encoder."""
    comparison = one.state.objective.comparison
    assert comparison is not None
    (link,) = comparison.links

    def drawn(shape: Sequence[int]) -> Tensor:
        features = torch.randn(BATCH, *shape, device=runtime.device)
        return features.to(memory_format=torch.channels_last) if last else features

    trained = inputs_of(link, drawn)
    weights = list(itertools.chain.from_iterable(module.parameters() for module, _ in trained))
    optimiser = SGD(0.1).build(weights) if weights else None
    coding, theirs = link.matcher.coding(), drawn(link.pairs[0].teacher.shape)
    encoder = None if coding is None else coding.coder.get_submodule("encoder").to(runtime.device).eval()

    def step() -> None:
        if optimiser is None:
            return
        with runtime.fabric.autocast():
            if encoder is not None:
                with torch.no_grad():
                    encoder(theirs)
            found = [module(features) for module, features in trained]
        torch.autograd.backward(found, [torch.ones_like(one) for one in found])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        for _, features in trained:
            features.grad = None

    return step


def inputs_of(link: Link, drawn: Callable[[Sequence[int]], Tensor]) -> list[tuple[nn.Module, Tensor]]:
    """Return each module that a matcher trains, with features of the shape that it gets."""
    seen: list[tuple[nn.Module, tuple[int, ...]]] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, _: seen.append((module, tuple(inputs[0].shape[1:]))))
        for module in link.matcher.modules()
        if isinstance(module, BETWEEN)
    ]
    with torch.no_grad():
        own = [link.matcher.look(drawn(pair.student.shape)) for pair in link.pairs]
        theirs = [link.matcher.look_at_teacher(drawn(pair.teacher.shape)) for pair in link.pairs]
        link.matcher(own, theirs, Clock(0, 1))
    for hook in hooks:
        hook.remove()
    return [(module, drawn(shape).requires_grad_()) for module, shape in seen]


def peak(work: Callable[[], None], runtime: Runtime) -> int:
    """Return the largest number of bytes that a round holds beyond those it begins with."""
    if runtime.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(max(itertools.accumulate(event.nbytes() for event in events)))


def report(
    times: dict[str, list[float]], peaks: dict[str, int], options: argparse.Namespace, runtime: Runtime, last: bool
) -> str:
    """Return the Markdown table."""
    rows, parts = [], {name: seconds for name, seconds in times.items() if name in {FLOOR, TEACHER}}
    for name, seconds in times.items():
        cost = f"{1000 * statistics.median(seconds) / options.steps:.2f}"
        if name not in {*MATCHERS, KD, FIRST}:
            # where nothing stands between the two there is nothing to time
            if max(seconds) > 1e-4 * max(times[FLOOR]):
                rows.append(f"| {name} | {cost} | – | – | – | – | – |")
            continue
        own = times.get(between(name), [0.0] * len(seconds))
        floor = [sum(addends) for addends in zip(*parts.values(), own, strict=True)]
        low, middle, high = statistics.quantiles([a / b for a, b in zip(seconds, floor, strict=True)], n=4)
        least = f"{1000 * statistics.median(floor) / options.steps:.2f}"
        held = f"{peaks[name] / 1e6:.1f} | {peaks[name] / peaks[KD]:.3f}" if name in peaks else "– | –"
        rows.append(f"| {name} | {cost} | {least} | {middle:.3f} | {low:.3f} to {high:.3f} | {held} |")
    where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else f"{platform.machine()} CPU"
    return "\n".join(
        [
            f"ResNet-20 taught by a ResNet-56, batch {BATCH}, 32 × 32, {CLASSES} classes; {where}, "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}, {options.precision}, "
            f"{'channels-last' if last else 'contiguous'}; {options.rounds} rounds of {options.steps} steps.",
            "",
            "| training step | ms | floor, ms | ratio, median | middle half of the rounds | peak MB | to KD's |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
