"""`limbeck plan-memory`: what past predictions and a teacher's cache take, before anything is trained."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer

KNOWN = {
    "ImageNet-1k": (1_281_167, 1000),
    "ImageNet-21k": (14_197_122, 21_841),
    "a billion images": (1_000_000_000, 1000),
}


def plan_memory(
    examples: Annotated[int | None, typer.Option(min=1, help="training examples")] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="classes")] = None,
    students: Annotated[int, typer.Option(min=1, help="networks that learn together")] = 1,
    window: Annotated[int, typer.Option(min=1, help="past epochs that are averaged")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="machines like this one")] = 1,
    cycle: Annotated[int, typer.Option(min=1, help="of a teacher's cache: epochs after which views come again")] = 10,
    views: Annotated[int, typer.Option(min=1, help="of a teacher's cache: views of an example in an epoch")] = 1,
    folder: Annotated[Path, typer.Option(help="a folder on the disk that the run would be on")] = Path(),
) -> None:
    """Show what past predictions and a teacher's cache take; without --examples and --classes, for three known sizes.

    Past predictions are those of PS-KD, in bytes and time; a teacher's cache is the folder teacher.cache.
    """
    from limbeck.core.shard import Shuffle
    from limbeck.errors import LimbeckError

    if (examples is None) != (classes is None):
        raise LimbeckError("give --examples and --classes, or neither for three known sizes")
    sizes = KNOWN
    if examples is not None and classes is not None:
        sizes = {"": (examples, classes)}

    from limbeck.memory.homes import free_bytes
    from limbeck.memory.logits import logits_format
    from limbeck.memory.sizes import Cost, answers_layout, cached, costs, in_words, traffic
    from limbeck.memory.speed import device_of, disk_speed, epoch_seconds, row_speed
    from limbeck.report.text import print_rows

    def sent(cost: Cost) -> dict[str, str]:
        if processes * nodes == 1:
            return {}
        bytes_of = partial(traffic, cost.layout, cost.place, processes=processes, nodes=nodes)
        return {f"sent under {kind}": in_words(students * bytes_of(kind).epoch) for kind in get_args(Shuffle)}

    disk = disk_speed(folder)
    free = {place: free_bytes(place, device_of(place), folder) for place in ("device", "ram", "disk")}
    for name, (count, width) in sizes.items():
        rows = []
        for cost in costs(count, width, students=students, window=window, processes=processes):
            speed = row_speed(cost.layout, device_of(cost.place))
            seconds = epoch_seconds(cost, speed, disk, students=students, processes=processes, free=free["ram"])
            rows.append(
                {
                    "method.bank": cost.place,
                    "format": str(cost.layout.format),
                    "in all": in_words(cost.total),
                    "per process": in_words(cost.per_process) if cost.per_process else "shared",
                    "fits here": _fits(cost.total, free[cost.place]),
                    "time an epoch": _duration(seconds),
                    **sent(cost),
                }
            )
        print_rows(rows, f"{name + ': ' if name else ''}{count:,} examples × {width:,} classes, window {window}")
        rows = []
        for dtype, top_k in cached(width):
            layout = answers_layout(count * views, width, cycle, logits_format(dtype, top_k))
            rows.append(
                {
                    "teacher.cache_dtype": dtype,
                    "teacher.cache_top_k": "null" if top_k is None else str(top_k),
                    "in all": in_words(layout.bytes),
                    "an epoch": in_words(layout.bytes / cycle),
                    "fits here": _fits(layout.bytes, free["disk"]),
                }
            )
        print_rows(rows, f"{name + ': ' if name else ''}a teacher's cache, data.cycle {cycle}, {views} view(s)")
    told = ", ".join(f"{place} {'?' if room is None else in_words(room)}" for place, room in free.items())
    print(f"free here: {told}; the disk writes {in_words(disk.write)} and reads {in_words(disk.read)} a second")
    if processes * nodes > 1:
        print("Sent is by a process in an epoch (from the disk by each machine's first), by training.shuffle.")
    print("Times are estimates from a short calibration on this machine, of reading and writing alone.")


def _fits(size: int, room: int | None) -> str:
    from limbeck.memory.homes import USABLE

    return "?" if room is None else "yes" if size <= USABLE * room else "no"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.2g} {unit}"
    return f"{seconds:.2g} s"
