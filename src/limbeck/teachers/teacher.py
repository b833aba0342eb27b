"""The frozen teacher: from an earlier run, a weights file, or a pretrained timm / torchvision network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BeforeValidator, PlainSerializer
from torch import Tensor, nn

from limbeck import files
from limbeck.core.batch import Output, View
from limbeck.core.cohort import answer
from limbeck.core.config import Count, Index, configurable
from limbeck.core.writer import Relation
from limbeck.data.text.tokens import FILE, SPECIAL
from limbeck.errors import LimbeckError
from limbeck.memory.formats import Precision
from limbeck.models import ModelSpec, build_model, check_model
from limbeck.models.bridges import pretraining
from limbeck.models.table import untrained
from limbeck.plain import recipe_of
from limbeck.teachers.kept import Which, weights_file
from limbeck.train.job import Origin
from limbeck.train.weights import fingerprint, load_weights, read_weights


class Inputs(NamedTuple):
    """What a network was trained to read and to name.

    Attributes:
        classes: class names in the order of the logits.
        channels: 1 or 3 image channels.
        mean: per channel, subtracted from images in [0, 1].
        std: per channel, divided by.
    """

    classes: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_model(value: Any) -> Any:
    """Take a network as its name, or as a mapping of name and options side by side."""
    if isinstance(value, str):
        return ModelSpec(value)
    if isinstance(value, Mapping) and "name" in value:
        return ModelSpec(value["name"], {key: option for key, option in value.items() if key != "name"})
    return value


Model = Annotated[
    ModelSpec, BeforeValidator(read_model), PlainSerializer(lambda model: {"name": model.name, **model.options})
]


@configurable
class TeacherChoice:
    """Where the teacher comes from: exactly one of `stage`, `run`, `weights`, or a pretrained `model` alone.

    Attributes:
        stage: an earlier stage of the same recipe.
        run: the folder of an earlier run.
        weights: a safetensors file, or a torch file, which is read without executing anything in it.
        model: the architecture of `weights` (files of our own name it themselves), or a pretrained network.
        which: of a stage or run, the "last" weights, the "best" on its validation split, or ones from along its
            training: "epoch-5" after five epochs, "accuracy-0.7" after the first epoch that reached it on the
            validation split. A stage keeps what its students ask for; a run has what `training.keep_epochs` and
            `training.keep_accuracies` asked for.
        student: of a stage or run of several students, which one teaches, counted from 0.
        relation: what the teacher must be beside the student, by number of parameters: "larger", "smaller" (the student
            teaches the teacher, Re-KD), the "same" network (its trained copy), or "any".
        cache: a folder where the teacher's logits are recorded when a view is first seen, and replayed whenever it
            comes again, in any run; needs `data.view_seed` and `data.cycle`. None asks the teacher every time.
        cache_dtype: of the recorded logits.
        cache_top_k: record only so many of the largest logits; the other classes share evenly what these leave.
    """

    stage: str | None = None
    run: str | None = None
    weights: str | None = None
    model: Model | None = None
    which: Which = "last"
    student: Index | None = None
    relation: Relation = "any"
    cache: str | None = None
    cache_dtype: Precision = "float32"
    cache_top_k: Count | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("stage", "run", "weights") if getattr(self, name) is not None]
        if len(given) > 1 or (not given and self.model is None):
            raise ValueError("a teacher is exactly one of: stage, run, weights, or a pretrained model alone")
        if given in (["stage"], ["run"]):
            if self.model is not None:
                raise ValueError(f"a teacher's {given[0]} knows its own model; leave 'model' out")
        elif self.student is not None:
            raise ValueError("only a teacher's stage or run has several students; leave 'student' out")
        elif self.which != "last":
            raise ValueError(f"only a teacher's stage or run has {self.which} weights; leave 'which' out")
        if self.model is not None:
            check_model(self.model)
        if self.cache is None and (self.cache_dtype != "float32" or self.cache_top_k is not None):
            raise ValueError(
                "cache_dtype and cache_top_k say how answers are recorded: set cache too, or leave them out"
            )


class Teacher:
    """A network that answers in eval mode, without gradient. Not a module: never saved, wrapped or trained.

    Args:
        net: the network, logits [B, K] from images [B, C, H, W].
        inputs: what it was trained on, when known.
        name: how errors call it.
    """

    def __init__(self, net: nn.Module, inputs: Inputs | None = None, name: str = "teacher") -> None:
        self.net = net.eval().requires_grad_(False)
        self.inputs, self.name = inputs, name
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None

    @torch.no_grad()
    def __call__(self, view: View, like: Output | None = None) -> Output:
        """Return the teacher's output on a view that is normalised as the student's data are.

        Args:
            view: what the student reads.
            like: the student's output, whose choice is followed where networks choose what they answer of.
        """
        return answer(self.net, self.normalised(view), like)

    @property
    def plain(self) -> bool:
        """Whether the network reads views as they are."""
        return self._scale is None

    def normalised(self, view: View) -> Any:
        """Return a view that is normalised as the student's data are as the network itself reads it.

        Raises:
            LimbeckError: pictures with boxes would have to be normalised anew, zeros beside them too.
        """
        if self._scale is None or self._shift is None:
            return view
        if not isinstance(view, Tensor):
            raise LimbeckError(f"{self.name} reads other mean and std: give both the same data.mean and data.std")
        return view * self._scale + self._shift

    def meet(self, data: Inputs, device: torch.device) -> Teacher:
        """Move to the device, and check and adapt to the student's data.

        A teacher that was trained on images normalised otherwise reads re-normalised views.

        Raises:
            LimbeckError: other classes, or the same ones in another order; another number of channels.
        """
        self.net.to(device).to(memory_format=torch.channels_last)
        if self.inputs is None:
            return self
        _same_classes(self.name, self.inputs.classes, data.classes)
        if self.inputs.channels != data.channels:
            raise LimbeckError(
                f"{self.name} reads {self.inputs.channels}-channel images, the data have {data.channels}"
            )
        if (self.inputs.mean, self.inputs.std) != (data.mean, data.std):
            mean, std, own_mean, own_std = (
                torch.tensor(numbers, device=device)[:, None, None]
                for numbers in (data.mean, data.std, self.inputs.mean, self.inputs.std)
            )
            self._scale, self._shift = std / own_std, (mean - own_mean) / own_std
        return self

    def fingerprint(self) -> str:
        """Return the SHA-256 of the weights, hexadecimal."""
        return fingerprint(self.net)


def students_of(run: Path) -> list[str]:
    """Return the names of a finished run's students, without their ensemble.

    Raises:
        LimbeckError: it is no run, or not a finished one.
    """
    results = run / "results.json"
    if not results.exists():
        raise LimbeckError(f"{run} has no results.json: it is no run, or not a finished one")
    found = files.read_json(results)
    if not isinstance(found, dict) or not isinstance(found.get("students"), dict):
        raise LimbeckError(f"{results} is damaged; remove its folder and train again")
    return [name for name in found["students"] if name.startswith("student")]


def origin(choice: TeacherChoice, teacher: Teacher) -> Origin:
    """Return how tables call a teacher, and what it shares with the same teacher trained from another seed."""
    if choice.run is None:
        named = choice.weights or (choice.model.name if choice.model else teacher.name)
        return Origin(Path(named).name, teacher.fingerprint())
    return run_origin(Path(choice.run), choice.which, choice.student)


def run_origin(run: Path, which: str, student: int | None) -> Origin:
    """Return how tables call weights of a run, and what they share with those of the same run from another seed."""
    environment = files.read_json(run / "environment.json")
    recipe = recipe_of(run)
    trained, planned = files.read_json(run / "results.json")["epochs"], recipe["training"]["epochs"]
    length = f"{trained} of {planned} epochs" if trained < planned else f"{trained} epochs"
    which = which if student is None else f"student-{student}, {which}"
    model = recipe["peers"][student - 1]["model"] if student and recipe.get("peers") else recipe["model"]
    label = f"{model['name']} by {recipe['method']['name']} for {length}, {which}"
    return Origin(label, f"{environment['group']} {which}")


def load_teacher(choice: TeacherChoice, data: Inputs) -> Teacher:
    """Return the teacher of a recipe; `stage` has been replaced by its run's folder beforehand.

    Raises:
        LimbeckError: nothing there, a damaged file, code in a pickle, or weights of another architecture.
    """
    if choice.run is not None:
        return _from_file(weights_of(Path(choice.run), choice.which, choice.student), None, data)
    if choice.weights is not None:
        return _from_file(Path(choice.weights), choice.model, data)
    assert choice.model is not None
    if not choice.model.name.startswith(("timm:", "torchvision:")) or not choice.model.options.get("pretrained"):
        raise LimbeckError(
            f"the teacher {choice.model.name!r} would be untrained: give run, weights, or a timm: or torchvision: "
            "model with pretrained: true"
        )
    name = choice.model.name
    known = pretraining(name)
    if known.classes != len(data.classes):
        raise LimbeckError(
            f"the teacher {name!r} was pretrained on {known.classes} classes, the student's data have "
            f"{len(data.classes)}: train it on these data first, as a stage of its own"
        )
    grey = data.channels != len(known.mean)
    mean, std = (known.mean[:1] * data.channels, known.std[:1] * data.channels) if grey else (known.mean, known.std)
    net = build_model(choice.model, len(data.classes), data.channels)
    return Teacher(net, Inputs(data.classes, data.channels, mean, std), f"teacher {name}")


def weights_of(run: Path, which: Which, number: int | None, field: str = "teacher") -> Path:
    """Return the file of a student's weights, of a run of one or of several; `field` is what a recipe asks by.

    Raises:
        LimbeckError: it is not there, or it is not said of which of several students.
    """
    student = "student" if number is None else f"student-{number}"
    names = students_of(run)
    if student not in names and len(names) == 1:
        raise LimbeckError(f"{run} has one student only: leave {field}.student out")
    if student not in names:
        raise LimbeckError(f"{run} has {len(names)} students: choose one by {field}.student, 0 to {len(names) - 1}")
    return weights_file(run, student, which)


def _from_file(path: Path, model: ModelSpec | None, data: Inputs) -> Teacher:
    if not path.exists():
        raise LimbeckError(f"there is no weights file {path}")
    weights, metadata = read_weights(path)
    inputs = None
    if "limbeck" in metadata:
        known = json.loads(metadata["limbeck"])
        inputs = Inputs(tuple(known["classes"]), known["channels"], tuple(known["mean"]), tuple(known["std"]))
        _same_classes(f"the network in {path}", inputs.classes, data.classes)
        if model is None and known["model"] is not None:
            model = read_model(known["model"])
    if model is None and inputs is not None:
        raise LimbeckError(f"{path} is of a network of your own: load it into that network, and give the network")
    if model is None:
        raise LimbeckError(f"{path} does not say which network it is for: give the teacher's model as well")
    channels = data.channels if inputs is None else inputs.channels
    net = build_model(untrained(model), len(data.classes), channels)
    load_weights(net, weights, str(path))
    return Teacher(net, inputs, f"the network in {path}")


def _same_classes(name: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    if tuple(theirs) == tuple(ours):
        return
    if theirs[0] == ours[0] == SPECIAL[0]:
        raise LimbeckError(
            f"{name} has another vocabulary ({len(theirs)} tokens) than the data ({len(ours)}): give both the same "
            f"training text and data.tokenizer, or set data.tokenizer.file to the {FILE} beside it"
        )
    if len(theirs) != len(ours):
        raise LimbeckError(f"{name} knows {len(theirs)} classes, the data have {len(ours)}")
    if set(theirs) == set(ours):
        raise LimbeckError(f"{name} has the data's classes in another order: its answers would go by the wrong names")
    first = next((a, b) for a, b in zip(theirs, ours, strict=True) if a != b)
    raise LimbeckError(f"{name} knows other classes than the data: {first[0]!r} where they have {first[1]!r}")
