"""A finished run's weights, once more, on its test set or on other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from limbeck.core.batch import Output, View
from limbeck.core.cohort import Peers
from limbeck.data.choice import Splits
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError
from limbeck.plain import check_classifies, recipe_of
from limbeck.recipes.read import overridden, plan
from limbeck.tasks.classification import ENSEMBLE
from limbeck.teachers.plan import Stage
from limbeck.teachers.teacher import Inputs, Teacher, TeacherChoice, load_teacher, students_of
from limbeck.train.evaluation import answers
from limbeck.train.runtime import Runtime

# what of a recipe says how a network is tested
_OF_TASK = ("task", "data", "model")


def evaluate_run(
    run: Path, which: Literal["last", "best"], overrides: Sequence[str], accelerator: str
) -> dict[str, dict[str, float]]:
    """Return the unscaled test figures of a run's students by name, and of several also of their ensemble.

    A gated ensemble, which no recipe builds again, is not among them; there it is the "mean" of the branches.

    Args:
        run: the run's folder.
        which: weights.
        overrides: `data.key=value`, to test on other data of the same classes.
        accelerator: where to run.

    Raises:
        LimbeckError: no run there, weights missing or damaged, data that do not fit the network.
    """
    runtime = Runtime(accelerator, devices=1, nodes=1)
    test = _loaded(run, stage_of(run).data.tested_alone(run), overrides, runtime.device).test
    inputs = Inputs(test.classes, test.shape[0], test.mean, test.std)
    networks = trained(run, which, inputs, runtime.device)
    task = stage_of(run).task
    said = answers(task, Peers(list(networks.values())), test, runtime, full=True)
    found = dict(zip(networks, said, strict=True))
    if len(found) > 1 and (together := task.together(said)) is not None:
        gated = (run / f"{ENSEMBLE}.safetensors").exists()
        found["mean" if gated else ENSEMBLE] = together
    return {name: task.figures(one) for name, one in found.items()}


def trained(run: Path, which: Literal["last", "best"], inputs: Inputs, device: torch.device) -> dict[str, nn.Module]:
    """Return what `teachers` does, as modules."""
    return {
        name: one.net if one.plain else _Answering(one) for name, one in teachers(run, which, inputs, device).items()
    }


def teachers(run: Path, which: Literal["last", "best"], inputs: Inputs, device: torch.device) -> dict[str, Teacher]:
    """Return the frozen networks of a finished run's students, by name, on the device.

    Args:
        run: the run's folder.
        which: weights.
        inputs: of the images that they are to read, which are normalised anew where theirs were otherwise.
        device: where to put them.

    Raises:
        LimbeckError: no run there, weights missing or damaged, images or classes that do not fit the network.
    """
    names = students_of(run)
    choices = [
        TeacherChoice(run=str(run), which=which, student=i if len(names) > 1 else None) for i in range(len(names))
    ]
    return {
        name: load_teacher(choice, inputs).meet(inputs, device) for name, choice in zip(names, choices, strict=True)
    }


def test_examples(run: Path, overrides: Sequence[str], device: torch.device | str) -> Examples:
    """Return the test set of a run's recipe, or its validation split where that is what its figures are of.

    Args:
        run: the run's folder.
        overrides: `data.key=value`, for other data or for data that have moved.
        device: where images are to be.

    Raises:
        LimbeckError: no run there, or of another task than classification; another override, data that are not there.
    """
    check_classifies(run)
    return evaluated_examples(run, overrides, device)


def evaluated_examples(run: Path, overrides: Sequence[str], device: torch.device | str) -> Examples:
    """Return what `test_examples` does, whatever the run's task."""
    return _loaded(run, stage_of(run).data.tested_alone(run), overrides, device).test


def train_examples(run: Path, overrides: Sequence[str], device: torch.device | str) -> Examples:
    """Return the training examples of a run's recipe as they are, without random views.

    Args:
        run: the run's folder.
        overrides: `data.key=value`, for data that have moved.
        device: where images are to be.

    Raises:
        LimbeckError: no run there, another override, data that are not there.
    """
    check_classifies(run)
    return _loaded(run, {"views": [], "mix": None}, overrides, device).train


def stage_of(run: Path) -> Stage:
    """Return the data, the network and the task of a run's recipe, with nothing else of it."""
    stage_tree = recipe_of(run)
    tree: dict[str, Any] = {key: stage_tree[key] for key in _OF_TASK if key in stage_tree}
    return plan(tree, str(run / "recipe.yaml")).student


def _loaded(run: Path, changes: Mapping[str, Any], overrides: Sequence[str], device: torch.device | str) -> Splits:
    stage_tree = recipe_of(run)
    tree: dict[str, Any] = {key: stage_tree[key] for key in _OF_TASK if key in stage_tree}
    tree["data"] = tree["data"] | dict(changes)
    for text in overrides:
        if not text.startswith("data."):
            raise LimbeckError(f"override {text!r}: only data.… can be changed when evaluating")
        tree = overridden(tree, [text])
    return plan(tree, str(run / "recipe.yaml")).student.data.load(device)


class _Answering(nn.Module):
    """A frozen network that reads images as its own training data were normalised."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self._answer = teacher

    def forward(self, view: View) -> Output:
        return self._answer(view)
