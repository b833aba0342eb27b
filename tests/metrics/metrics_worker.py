"""One of two processes that measure together; a module of its own, so that a new process can import it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torchmetrics import MetricCollection

from limbeck.metrics.streaming import RunningAURC, RunningBrier, RunningECE, RunningError, RunningNLL


def all_metrics() -> MetricCollection:
    return MetricCollection(
        {
            "nll": RunningNLL(),
            "error": RunningError(),
            "top5_error": RunningError(top=5),
            "brier": RunningBrier(),
            "ece": RunningECE(),
            "aurc": RunningAURC(),
        }
    )


def measure(rank: int, folder: Path) -> None:
    """Measure unequal shares, then one where the second process has nothing; leave the answers as JSON."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    data = np.load(folder / "data.npz")
    logits, labels = torch.from_numpy(data["logits"]), torch.from_numpy(data["labels"])
    answers = {}
    for name, border in (("unequal", 37), ("idle", len(labels))):
        metrics = all_metrics()
        share = slice(0, border) if rank == 0 else slice(border, None)
        for z, y in zip(logits[share].split(16), labels[share].split(16), strict=True):
            if len(y) > 0:
                metrics.update(z, y)
        answers[name] = {key: float(value) for key, value in metrics.compute().items()}
    (folder / f"answers-{rank}.json").write_text(json.dumps(answers), encoding="utf-8")
    dist.destroy_process_group()
