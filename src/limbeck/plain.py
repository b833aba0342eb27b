"""Plain values: nested mappings as they stand in recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import LimbeckError

# of a stage in which a coder of features learns, and no network
CODER_FILE = "coder.safetensors"


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping's leaves by dotted path."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def last_stage(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe of the student alone, where a recipe.yaml has stages before it."""
    stages = recipe.get("stages")
    return list(stages.values())[-1] if isinstance(stages, Mapping) and stages else recipe


def task_name(recipe: Mapping[str, Any]) -> Any:
    """Return the name of the task of a student's recipe, which is to classify images where none is named."""
    task = recipe.get("task", "classification")
    return task.get("name") if isinstance(task, Mapping) else task


def classifies(recipe: Mapping[str, Any]) -> bool:
    """Say whether the task of a student's recipe is to classify images."""
    return bool(task_name(recipe) == "classification")


def of_another_task(run: Path) -> bool:
    """Say whether a run's recipe is there and says that it classifies no images."""
    return (run / "recipe.yaml").exists() and not classifies(recipe_of(run))


def check_classifies(run: Path) -> None:
    """Refuse a run of another task, where its recipe is there to say so.

    Raises:
        LimbeckError: its task is not to classify images.
    """
    if of_another_task(run):
        raise LimbeckError(f"{run} classifies no images, and this looks at how images are classified: name another run")


def evaluated_on(recipes: Iterable[Mapping[str, Any]]) -> str:
    """Return what the figures of runs with these recipes are of, as headings say it (see `Data.evaluate`)."""
    kinds = {recipe.get("data", {}).get("evaluate", "test") for recipe in recipes}
    names = [name for kind, name in (("test", "Test set"), ("validation", "Validation split")) if kind in kinds]
    return " and ".join(names) + (" (mixed!)" if len(names) > 1 else "")


def predictions_file(student: str) -> str:
    """Return the name of the file in a run's folder that holds the answers of a student, or of all as one."""
    tail = student.removeprefix("student")
    return f"predictions-{tail.removeprefix('-')}.npz" if tail else "predictions.npz"


def recipe_of(run: Path) -> dict[str, Any]:
    """Return the recipe of a run's student.

    Raises:
        LimbeckError: the folder is no run's, or its recipe.yaml is damaged.
    """
    return dict(last_stage(whole_recipe_of(run)))


def whole_recipe_of(run: Path) -> dict[str, Any]:
    """Return the recipe of a run with the stages before its student's, and with its reference, as its file has them.

    Raises:
        LimbeckError: as `recipe_of`.
    """
    path = run / "recipe.yaml"
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LimbeckError(f"{run} is no run folder: cannot read its recipe.yaml ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LimbeckError(f"{path} is damaged; remove its folder and train again") from error
    found = last_stage(recipe) if isinstance(recipe, Mapping) else {}
    if not all(isinstance(found.get(key), Mapping) for key in ("data", "model", "method", "training")):
        raise LimbeckError(f"{path} is damaged; remove its folder and train again")
    return dict(recipe)
