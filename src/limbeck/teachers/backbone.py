"""Backbone transfer: a detector begins with the stages that a classifier has learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from limbeck.core.config import Index, configurable
from limbeck.data.choice import DataChoice
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, task_of
from limbeck.models.detector import Detector
from limbeck.models.table import backbone_of, untrained
from limbeck.teachers.kept import Which, check_which
from limbeck.teachers.students import one_of
from limbeck.teachers.teacher import Inputs, read_model, run_origin, weights_of
from limbeck.train.job import Origin
from limbeck.train.loop import Training
from limbeck.train.weights import fingerprint, read_weights


@configurable
class BackboneChoice:
    """Whose stages a detector begins with: exactly one of `stage`, `run` and `weights`.

    Attributes:
        stage: an earlier stage of the same recipe, of classification.
        run: the folder of an earlier run.
        weights: a safetensors file, or a torch file, which is read without executing anything in it.
        which: of a stage or run, the "last" weights, the "best", "epoch-5" or "accuracy-0.7", as of a teacher.
        student: of a stage or run of several students, which one, counted from 0.
    """

    stage: str | None = None
    run: str | None = None
    weights: str | None = None
    which: Which = "last"
    student: Index | None = None

    def __post_init__(self) -> None:
        if len([one for one in (self.stage, self.run, self.weights) if one is not None]) != 1:
            raise ValueError("a backbone is of exactly one of: stage, run, weights")
        if self.weights is not None and (self.which != "last" or self.student is not None):
            raise ValueError("which and student are of a stage or run: leave them out beside weights")


@runtime_checkable
class Based(Protocol):
    """What is asked of a stage here."""

    @property
    def backbone(self) -> BackboneChoice | None: ...  # noqa: D102

    @property
    def networks(self) -> list[ModelSpec]: ...  # noqa: D102

    @property
    def data(self) -> DataChoice: ...  # noqa: D102

    @property
    def training(self) -> Training: ...  # noqa: D102


def check_backbone(name: str, stages: Mapping[str, Based], seen: Sequence[str]) -> None:
    """Check that a stage stands on what an earlier one trains.

    Args:
        name: of the stage.
        stages: of the recipe.
        seen: those before it.

    Raises:
        LimbeckError: that does not come before it, trains another network, or will not have the weights.
    """
    choice = stages[name].backbone
    if choice is None or choice.stage is None:
        return
    where = f"stage {name!r}"
    if choice.stage not in seen:
        raise LimbeckError(f"{where} stands on {choice.stage!r}, which does not come before it")
    based = stages[choice.stage]
    trained = one_of(based.networks, choice.student, f"{where}: its backbone {choice.stage!r}", "backbone")
    for network in stages[name].networks:
        if untrained(named := backbone_of(network)) != untrained(trained):
            raise LimbeckError(
                f"{where}: model.backbone is {_named(named)}, and stage {choice.stage!r} trains {_named(trained)}: "
                "name the same network and options"
            )
    check_which(choice.which, choice.stage, based.training, based.data.validated, where, "backbone")


def check_images(name: str, based: str, theirs: Examples, own: Examples) -> None:
    """Check that a stage can stand on what another one learns from its images.

    Args:
        name: of the stage.
        based: whose stages it begins with.
        theirs: what that one learns from.
        own: what the stage learns from.

    Raises:
        LimbeckError: the images have other channels.
    """
    if theirs.shape[0] != own.shape[0]:
        raise LimbeckError(
            f"stage {name!r} reads pictures of {own.shape[0]} channels, and its backbone {based!r} learns from images "
            f"of {theirs.shape[0]}: train that on colours"
        )


def frozen_at_random(spec: ModelSpec) -> bool:
    """Say whether a detector, which takes no classifier's stages, keeps batch norms that have learned nothing."""
    detects = task_of(spec) == "detection"
    return detects and bool(spec.options.get("frozen")) and not backbone_of(spec).options.get("pretrained")


def given(networks: Sequence[nn.Module]) -> str:
    """Return the SHA-256 of what detectors begin with, hexadecimal: their stages, and how these read images."""
    parts = [
        (fingerprint(network.body), network.scale.tolist(), network.shift.tolist())
        for network in networks
        if isinstance(network, Detector)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def transfer(choice: BackboneChoice, networks: Sequence[nn.Module], specs: Sequence[ModelSpec], data: Inputs) -> Origin:
    """Let detectors begin with a classifier's stages, and return where these come from.

    A classifier whose images were normalised otherwise goes on reading them as it did.

    Args:
        choice: whose; `stage` has been replaced by its run's folder beforehand.
        networks: the detectors.
        specs: of these.
        data: what they will read.

    Raises:
        LimbeckError: nothing there, a damaged file, another network than `model.backbone`, or one that reads
            no colours.
    """
    path = Path(choice.weights or "")
    if choice.run is not None:
        path = weights_of(Path(choice.run), choice.which, choice.student, "backbone")
    if not path.exists():
        raise LimbeckError(f"there is no weights file {path}")
    weights, metadata = read_weights(path)
    known = json.loads(metadata["limbeck"]) if "limbeck" in metadata else None
    for network, spec in zip(networks, specs, strict=True):
        assert isinstance(network, Detector)
        if known is not None:
            _check_model(known["model"], backbone_of(spec), path)
            if known["channels"] != data.channels:
                raise LimbeckError(
                    f"the network in {path} reads {known['channels']}-channel images, and pictures have {data.channels}"
                )
            mean, std, own_mean, own_std = (
                torch.tensor(numbers)[:, None, None] for numbers in (data.mean, data.std, known["mean"], known["std"])
            )
            network.meet(std / own_std, (mean - own_mean) / own_std)
        network.body.take(weights, str(path))
    if choice.run is None:
        return Origin(path.name, "")
    return run_origin(Path(choice.run), choice.which, choice.student)


def _check_model(known: object, backbone: ModelSpec, path: Path) -> None:
    """Check that a weights file is of the network that the recipe names."""
    there = None if known is None else read_model(known)
    if not isinstance(there, ModelSpec):
        return  # of a network of the user's own: its weights are compared one by one
    if untrained(there) != untrained(backbone):
        raise LimbeckError(
            f"{path} is of {_named(there)}, and model.backbone is {_named(backbone)}: name the same network and options"
        )


def _named(spec: ModelSpec) -> str:
    options = ", ".join(f"{key}: {value}" for key, value in spec.options.items())
    return f"{spec.name} ({options})" if options else spec.name
