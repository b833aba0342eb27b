"""What matchers must know of the teacher's features before a student is trained: coders that learn, and surveys."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import nn

from limbeck import files
from limbeck.core.batch import Batch, Clock
from limbeck.core.cohort import Peers
from limbeck.core.comparison import Comparison, Link
from limbeck.core.layers import probe
from limbeck.core.matcher import Coding
from limbeck.core.objective import Objective
from limbeck.core.roles import Teacher
from limbeck.core.taps import Tap, Taps
from limbeck.core.writer import Step
from limbeck.data.examples import Examples
from limbeck.matching.coders import reconstruction_loss
from limbeck.plain import CODER_FILE
from limbeck.targets.labels import CrossEntropy
from limbeck.tasks.classification import Classification
from limbeck.train.folder import claim, held
from limbeck.train.job import Job
from limbeck.train.loop import fit
from limbeck.train.optimisers import SGD
from limbeck.train.progress import Display
from limbeck.train.rates import ConstantRate
from limbeck.train.record import read
from limbeck.train.runtime import Runtime
from limbeck.train.weights import load_weights, read_weights

# pixels that a teacher is shown at a time: of images as large as ImageNet's some 500
_PIXELS = 25_000_000
# sets a coder's first weights apart from those of students and matchers of the same seed
_CODERS = 2


def learn_teacher(comparison: Comparison, job: Job, folder: Path, runtime: Runtime, display: Display) -> None:
    """Give every matcher what it wants of the teacher.

    A coder learns in a stage of its own, in `stages/` beside the run's folder, under the hash of what it depends on, so
    that every run that wants the same finds it there.

    Raises:
        LimbeckError: a coder's folder is damaged, or held by another process.
    """
    # a run's beginning that is trained again lies within the run
    run = folder.parent if (folder.parent / "recipe.yaml").exists() else folder
    # a stage that is none of the last ones lies there itself
    stages = run.parent if run.parent.name == "stages" else run.parent / "stages"
    for link in comparison.links:
        if link.source is not None or job.teacher is None:
            continue
        if (coding := _seeded(link, job.seed)) is not None:
            link.matcher.take(_trained(coding, link, job, stages, runtime, display))
        if link.matcher.surveys:
            link.matcher.settle(_surveyed(link, job.teacher, job.splits.train, runtime))


def _seeded(link: Link, seed: int) -> Coding | None:
    """Make a matcher's coder by draws of its own, which disturb nobody else's."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(np.random.SeedSequence([seed, _CODERS]).generate_state(1)[0]))
        return link.matcher.coding()


def _surveyed(link: Link, teacher: Teacher, train: Examples, runtime: Runtime) -> torch.Tensor:
    """Return a matcher's sums over all training images, without random views."""
    taps = _taps(teacher, link, train.shape)
    total: torch.Tensor | None = None
    try:
        together = max(1, min(500, _PIXELS // math.prod(train.shape[1:])))
        for batch in train.in_order(together, runtime.rank, runtime.world):
            with taps.listening():
                teacher(batch.views[0])
            (heard,) = taps.take()
            sums = link.matcher.survey([heard[Tap(pair.teacher.path)].kept for pair in link.pairs])
            total = sums if total is None else total + sums
    finally:
        taps.close()
    assert total is not None
    return runtime.sum(total)


def _taps(teacher: Teacher, link: Link, shape: Sequence[int]) -> Taps:
    network = teacher.net  # type: ignore[attr-defined]
    return Taps(network, [Tap(pair.teacher.path) for pair in link.pairs], probe(network, tuple(shape)))


def _trained(coding: Coding, link: Link, job: Job, stages: Path, runtime: Runtime, display: Display) -> nn.Module:
    """Return a coder's encoder, trained here or found."""
    own = _job(coding, link, job)
    place = stages / f"{coding.name}-{own.identity[:12]}"
    coder = own.cohort.alone(0)
    with held(place, runtime, display.say):
        claim(own, place, runtime)
        if not (place / "results.json").exists():
            _learn(own, coding, link, place, runtime, display)
        runtime.barrier()
        load_weights(coder, read_weights(place / CODER_FILE)[0], str(place / CODER_FILE))
    # of one memory format, whether it learned here or was found: sums are cut otherwise by another one
    encoder: nn.Module = coder.get_submodule("encoder").to(memory_format=torch.contiguous_format)
    return encoder.to(runtime.device)


def _learn(job: Job, coding: Coding, link: Link, place: Path, runtime: Runtime, display: Display) -> None:
    assert job.teacher is not None
    objective = Rebuilding(job.cohort.alone(0), job.teacher, _taps(job.teacher, link, job.splits.train.shape), coding)
    # also where training stops with an error: the teacher may be a user's
    with contextlib.closing(objective.taps):
        fit(
            objective.to(runtime.device),
            job.splits.train,
            None,
            optimisers=job.optimisers,
            rate=job.rate,
            training=job.training,
            seed=job.seed,
            runtime=runtime,
            display=display,
            folder=place,
            name=job.name,
        )
    if runtime.first:
        weights = {
            name: weight.detach().cpu().contiguous() for name, weight in job.cohort.alone(0).state_dict().items()
        }
        files.write(place / CODER_FILE, safetensors.save(weights))
        error = read(place / "metrics.jsonl")[-1]["rebuilding"]
        found = {"epochs": job.training.epochs, "rebuilding": error}
        files.write(place / "results.json", json.dumps(found, indent=2) + "\n")


def _job(coding: Coding, link: Link, job: Job) -> Job:
    """Return the stage in which a coder learns, with what it depends on and nothing else."""
    training = replace(
        job.training,
        epochs=coding.epochs,
        stop_epoch=None,
        stop_accuracy=None,
        keep_epochs=(),
        keep_accuracies=(),
        clip=None,
        ema=None,
        compile=False,
        trace=False,
    )
    optimiser = SGD(lr=coding.lr, momentum=0.9, nesterov=coding.nesterov, weight_decay=5e-4)
    layer = link.pairs[0].teacher
    depends = ("batch_size", "shuffle", "accumulate", "precision")
    recipe = {
        "data": job.recipe["data"],
        "teacher": job.recipe["teacher"],
        "seed": job.seed,
        "training": {"epochs": coding.epochs} | {name: getattr(training, name) for name in depends},
        "coder": {
            "name": coding.name,
            "layer": layer.path,
            "lr": coding.lr,
            "error": coding.power,
            "weights": [list(weight.shape) for weight in coding.coder.parameters()],
            # with them, its features are others
            "batch_statistics": any(matcher.batch_statistics for matcher in job.matchers),
        },
    }
    content = {name: digest for name, digest in job.content.items() if name in {"training data", "teacher"}}
    return replace(
        job,
        name=coding.name,
        cohort=Peers([coding.coder]),
        writer=CrossEntropy(),
        matchers=(),
        optimisers=[optimiser],
        rate=ConstantRate(),
        training=training,
        recipe=recipe,
        written=recipe,
        content=content,
        models=[None],
    )


class Rebuilding(Objective):
    """A coder learns to rebuild one layer of the teacher; driven by the loop that trains students.

    Attributes:
        taps: of the teacher's layer.

    Args:
        coder: maps features to features of the same shape.
        teacher: whose layer.
        taps: of that layer alone.
        coding: with the error that is made small.
    """

    def __init__(self, coder: nn.Module, teacher: Teacher, taps: Taps, coding: Coding) -> None:
        super().__init__(Peers([coder]), CrossEntropy(), Classification())
        self.taps, self._asked, self._power = taps, teacher, coding.power

    def forward(self, batch: Batch, clock: Clock, learner: int | None = None) -> Step:
        """Return the reconstruction error, times the number of examples."""
        with self.taps.listening():
            self._asked(batch.views[0])
        (heard,) = self.taps.take()
        features = heard[self.taps.taps[0]].kept
        loss = reconstruction_loss(self.cohort.alone(0)(features), features, self._power) * len(batch.ids)
        return Step(batch, clock, [], None, loss=loss, parts={"rebuilding": loss.detach()})
