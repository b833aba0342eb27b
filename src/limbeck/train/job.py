"""All that a run is made of, and the hashes by which it is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.core.cohort import Cohort
from limbeck.core.matcher import Matcher
from limbeck.core.roles import Teacher
from limbeck.core.writer import TargetWriter
from limbeck.data.choice import Splits
from limbeck.plain import flat
from limbeck.tasks import Classification, EvaluatedTask
from limbeck.train.kept import Mark
from limbeck.train.loop import Training
from limbeck.train.optimisers import OptimiserChoice
from limbeck.train.rates import Rate

EFFECTLESS = {
    "backbone.run",
    "backbone.stage",
    "backbone.weights",
    "data.source.root",
    "data.tokenizer.file",
    "data.translations.run",
    "data.translations.stage",
    "data.workers",
    "method.bank",
    "teacher.cache",
    "teacher.relation",
    "teacher.run",
    "teacher.stage",
    "teacher.weights",
    "training.checkpoint_steps",
    "training.keep_accuracies",
    "training.keep_epochs",
    "training.trace",
}

# Fields that came later, at what they stood for before: runs keep the identity that they had.
BEFORE = {
    "backbone": None,
    "data.evaluate": "test",
    "method.label_after": "whole",
    "method.stop": None,
    "task.name": "classification",
}


class Origin(NamedTuple):
    """Where a teacher comes from.

    Attributes:
        label: how tables call it.
        group: what it has in common with the same teacher trained from another seed.
    """

    label: str
    group: str


@dataclass(frozen=True)
class Job:
    """All that a run is made of.

    Attributes:
        name: what progress calls it.
        cohort: the networks to train.
        writer: who writes their targets.
        teacher: who else answers, already on the device, or None.
        matchers: what representations are matched.
        splits: the data.
        optimisers: which, with its hyper-parameters, for each of the cohort's parts.
        rate: the learning-rate schedule.
        training: how long and how.
        seed: of order, views and dropout; the networks were made with it as well.
        recipe: plain values that, together with data and teacher, say what the result is.
        written: what recipe.yaml shows: the recipe, with the stages before it.
        content: what else the result depends on (fingerprints), by name.
        models: how to build each network again, in the order of the cohort's names, written into its weights file; None
            for one of the user's own, and nothing for one that is no network by itself.
        taught_by: where the teacher comes from.
        teacher_run: the folder of the run that taught, where it was one.
        keep: marks at which weights are kept for others, beside those of `training`.
        task: what is learned.
        written_by: who wrote the training targets, where a teacher did.
        stands_on: where the first weights of a detector's backbone come from.
        warnings: what is told before the training begins.
    """

    name: str
    cohort: Cohort
    writer: TargetWriter
    teacher: Teacher | None
    matchers: Sequence[Matcher]
    splits: Splits
    optimisers: Sequence[OptimiserChoice]
    rate: Rate
    training: Training
    seed: int
    recipe: dict[str, Any]
    written: dict[str, Any]
    content: dict[str, str]
    models: Sequence[dict[str, Any] | None]
    taught_by: Origin | None = None
    teacher_run: Path | None = None
    keep: Sequence[Mark] = ()
    task: EvaluatedTask = field(default_factory=Classification)
    written_by: Origin | None = None
    stands_on: Origin | None = None
    warnings: Sequence[str] = ()

    @property
    def marks(self) -> list[Mark]:
        """Where weights are kept, each mark once."""
        return list(dict.fromkeys([*self.training.marks, *self.keep]))

    def about(self, index: int) -> dict[str, Any]:
        """Return what the weights file of a student says of its network and of what it reads."""
        train = self.splits.train
        return {
            "model": self.models[index] if index < len(self.models) else None,
            "classes": list(train.classes),
            "channels": train.shape[0],
            "mean": list(train.mean),
            "std": list(train.std),
        }

    @property
    def identity(self) -> str:
        """The SHA-256 of what the result depends on: equal identity, equal result on the same machine."""
        return _digest([effective(self.recipe), self.content])

    @property
    def group(self) -> str:
        """The SHA-256 of what runs have in common that differ in their seed (and their teacher's) only."""
        recipe = {key: value for key, value in effective(self.recipe).items() if key != "seed"}
        content = {key: value for key, value in self.content.items() if not key.startswith("first weights")}
        if self.taught_by is not None:
            content["teacher"] = self.taught_by.group
        if self.stands_on is not None and self.stands_on.group:
            content["backbone"] = self.stands_on.group
        if self.written_by is not None:
            content["training data"], content["translations"] = content["references"], self.written_by.group
        return _digest([recipe, content])


def effective(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of a recipe that change a result: neither where data lie, nor how a teacher was found."""
    return {
        key: value
        for key, value in flat({key: value for key, value in recipe.items() if key != "reference"}).items()
        if key not in EFFECTLESS and not (key in BEFORE and value == BEFORE[key])
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
