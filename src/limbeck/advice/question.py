"""What is asked: data, networks, budget; read, checked, and made the recipe that all candidates start from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.core.config import Count, configurable, fields_of
from limbeck.data.choice import Splits
from limbeck.data.load import SOURCES, Data
from limbeck.errors import LimbeckError, nearest
from limbeck.metrics.figures import FIGURES
from limbeck.models import ModelSpec, check_model
from limbeck.recipes.parse import merged, parse
from limbeck.recipes.read import overridden, plan
from limbeck.recipes.shorter import shortened
from limbeck.teachers.teacher import read_model

WHERE = "limbeck advise"
OPEN = ("data", "optimiser", "schedule", "training")
# of the training: what the tournament sets itself, and what makes other weights than those after the last epoch
_TAKEN = {
    "training.epochs": "give --epochs",
    "data.evaluate": "the tournament chooses by the validation split, and opens the test set once, in the final",
    "training.stop_epoch": "every candidate is trained to its end",
    "training.stop_accuracy": "every candidate is trained to its end",
    "training.keep_epochs": "the tournament keeps what it needs",
    "training.keep_accuracies": "the tournament keeps what it needs",
    "training.trace": "train the recommended recipe with it",
}
_BUDGET = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
# a validation split that tells methods apart: a tenth, at least so many, but never more than three tenths
_HELD_OUT = 1000
_BATCH, _SMALLEST_BATCH, _STEPS = 128, 16, 20


@configurable
class Question:
    """What is asked, as advice.yaml keeps it; another one is not answered from the same folder.

    Attributes:
        data: the source, as a recipe has it.
        student: the network that is to be trained.
        teacher: a network to be trained as its teacher, or a finished run's folder; None for none.
        budget: seconds.
        epochs: of a full training.
        seeds: of the final.
        by: the figure that decides.
        methods: the only candidates, by name; None for all that apply.
        overrides: `key=value`, of every candidate's recipe.
    """

    data: dict[str, Any]
    student: dict[str, Any]
    teacher: dict[str, Any] | str | None
    budget: float
    epochs: Count
    seeds: Count
    by: str
    methods: list[str] | None
    overrides: list[str]

    @property
    def name(self) -> str:
        """What the folder of the answer is called."""
        root = Path(str(self.data.get("root", ""))).name
        data = root if self.data["name"] == "image_folder" and root else self.data["name"]
        teacher = self.teacher["name"] if isinstance(self.teacher, dict) else Path(self.teacher or "").name
        words = "-".join(part for part in (data, self.student["name"], teacher) if part)
        return re.sub(r"[^\w.-]+", "-", words).strip("-.") or "advice"

    @property
    def title(self) -> str:
        """What the answer is about."""
        root = f" of {self.data['root']}" if "root" in self.data else ""
        return f"How to train {written(self.student)} on {self.data['name']}{root}"


def written(network: Mapping[str, Any]) -> str:
    """Return a network as text: cnn (width 4)."""
    options = ", ".join(f"{name} {value}" for name, value in network.items() if name != "name")
    return f"{network['name']} ({options})" if options else str(network["name"])


def ask(
    data: str,
    student: str,
    teacher: str | None,
    budget: str,
    *,
    epochs: int,
    seeds: int,
    by: str,
    methods: str | None,
    overrides: Sequence[str],
) -> Question:
    """Return a question, checked as far as nothing has to be read for it.

    Args:
        data: a source's name, or a folder of images.
        student: a model's name, or `{name: cnn, width: 8}`.
        teacher: likewise, or the folder of a finished run.
        budget: such as 90s, 30m, 2h or 1h30m.
        epochs: of a full training.
        seeds: of the final; at least two, since one makes no test.
        by: a figure's key.
        methods: candidates with commas between them; None for all.
        overrides: `key=value`, of data, optimiser, schedule and training.

    Raises:
        LimbeckError: what is wrong with it.
    """
    keys = [figure.key for figure in FIGURES if figure.lower_is_better]
    if by not in keys:
        raise LimbeckError(f"--by {by!r}: there is no such figure{nearest(by, keys)}")
    _check_overrides(overrides)
    taught: dict[str, Any] | str | None = None
    if teacher is not None:
        finished = (Path(teacher) / "recipe.yaml").exists() or (Path(teacher) / "results.json").exists()
        taught = teacher if finished else _network(teacher, "--teacher")
    return Question(
        data=_source(data),
        student=_network(student, "--student"),
        teacher=taught,
        budget=seconds_of(budget),
        epochs=epochs,
        seeds=seeds,
        by=by,
        methods=None if methods is None else [name.strip() for name in methods.split(",")],
        overrides=list(overrides),
    )


def seconds_of(budget: str) -> float:
    """Return a time such as 90s, 30m, 2h or 1h30m in seconds.

    Raises:
        LimbeckError: it is none.
    """
    found = _BUDGET.fullmatch(budget.strip())
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * length for part, length in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise LimbeckError(f"--budget {budget!r}: write a time such as 90s, 30m, 2h or 1h30m")
    return seconds


def _source(data: str) -> dict[str, Any]:
    if data.lstrip().startswith("{"):
        source = parse(data, f"--data {data}")
        if source.get("name") not in SOURCES:
            raise LimbeckError(f"--data {data}: give it a name{nearest(str(source.get('name')), SOURCES)}")
        return source
    if data in SOURCES:
        return {"name": data}
    if Path(data).is_dir():
        return {"name": "image_folder", "root": data}
    raise LimbeckError(f"--data {data!r}: no folder of that name is there, and no data source{nearest(data, SOURCES)}")


def _network(text: str, option: str) -> dict[str, Any]:
    if option == "--teacher" and "/" in text and ":" not in text:
        raise LimbeckError(f"--teacher {text}: there is no finished run in such a folder, nor a model of such a name")
    model = read_model(parse(text, f"{option} {text}") if text.lstrip().startswith("{") else text)
    if not isinstance(model, ModelSpec) or not isinstance(model.name, str):
        raise LimbeckError(f"{option} {text!r} names no model: write its name, or {{name: cnn, width: 4}}")
    try:
        check_model(model)
    except LimbeckError as error:
        hint = "; nor is it the folder of a run" if option == "--teacher" and "unknown" in str(error) else ""
        raise LimbeckError(f"{option}: {error}{hint}") from error
    return {"name": model.name, **model.options}


def _check_overrides(overrides: Sequence[str]) -> None:
    for text in overrides:
        key, _, value = text.partition("=")
        if key.split(".")[0] not in OPEN:
            raise LimbeckError(f"override {text!r}: only {', '.join(OPEN)} are open, which all candidates share")
        change: Any = parse(f"value: {value}", f"override {text!r}")["value"]
        for part in reversed(key.split(".")):
            change = {part: change}
        for field, why in _TAKEN.items():
            owner, name = field.split(".")
            if isinstance(change.get(owner), Mapping) and name in change[owner]:
                raise LimbeckError(f"override {text!r}: leave {field} out: {why}")


class Base(NamedTuple):
    """What all candidates share.

    Attributes:
        recipe: of the full training, without a method.
        splits: its data, of which the test set is left alone: the validation split is in its place.
        tested: how many test examples there are.
    """

    recipe: dict[str, Any]
    splits: Splits
    tested: int


def base_of(question: Question) -> Base:
    """Return the recipe that all candidates start from, and its data.

    What neither the question nor the overrides say: SGD with its defaults, a cosine with a short warm-up, batches of
    128 or as small as an epoch needs for 20 steps, and a validation split of a tenth of the examples, at least 1,000,
    at most three tenths (but one of each class).

    Raises:
        LimbeckError: the data are not there, or cannot be split; a broken override.
    """
    given = {
        "data": {"source": question.data},
        "model": question.student,
        "optimiser": {"name": "sgd"},
        "schedule": {"name": "cosine", "warmup": min(1.0, question.epochs / 20)},
        "training": {"epochs": question.epochs},
    }
    told = overridden(given, question.overrides)
    data = plan(told, WHERE).student.data
    if not isinstance(data, Data):
        raise LimbeckError("advise compares methods that classify images: leave task out")
    if not data.validation:
        raise LimbeckError("advise chooses by a validation split, and data.validation is 0: leave it out, or raise it")
    raw = data.source.load()
    classes = data.classes or len(raw.classes)
    count, tested = (int(np.count_nonzero(part.labels < classes)) for part in (raw.train, raw.test))
    if question.by == "top5_error" and classes <= 5:
        raise LimbeckError(f"--by top5_error: it is 0 for all among {classes} classes: choose another figure")
    used = min(count, data.examples or count)
    sized = {
        "data": {"validation": max(classes, used // 10, min(_HELD_OUT, 3 * used // 10))},
        "training": {"batch_size": _batch_size(used)},
    }
    tree = overridden(merged(given, sized), question.overrides)
    splits = plan(at_length(tree, question.epochs, "validation"), WHERE).student.data.load("cpu")
    return Base(tree, splits, tested)


def _batch_size(examples: int) -> int:
    fitting = 1 << max(1, examples // _STEPS).bit_length() - 1
    return max(_SMALLEST_BATCH, min(_BATCH, fitting))


def at_length(recipe: Mapping[str, Any], epochs: int, evaluate: str) -> dict[str, Any]:
    """Return a recipe for a training of so many epochs, with a schedule that is complete in them.

    Args:
        recipe: of the full training.
        epochs: of it, or fewer.
        evaluate: what its figures are to be of, "test" or "validation".
    """
    stage = plan(recipe, WHERE).student
    short = shortened(fields_of(stage), epochs)
    tree = dict(recipe)
    if epochs < stage.training.epochs:
        tree |= {"schedule": short["schedule"], "training": recipe["training"] | {"epochs": epochs}}
        if short["data"]["cycle"] is not None:
            tree["data"] = recipe["data"] | {"cycle": short["data"]["cycle"]}
    return tree if evaluate == "test" else tree | {"data": tree["data"] | {"evaluate": evaluate}}
