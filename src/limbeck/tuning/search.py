"""A search as it is asked for: which recipes, over which fields, with which budget; checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.metrics.figures import Figure, figure
from limbeck.plain import flat, last_stage
from limbeck.recipes.read import overridden, plan
from limbeck.recipes.reference import changed_reference
from limbeck.recipes.shipped import recipe_tree, run_name
from limbeck.studies.cells import ranked
from limbeck.studies.orders import Order
from limbeck.teachers.plan import Plan
from limbeck.tuning.fields import check_key, checked, default_space, has, own_key, value_at, with_values
from limbeck.tuning.sampler import points, require_optuna
from limbeck.tuning.space import Axis, Choices, read_axis

LONGEST = 100
# what of the data all recipes must have in common, so that their figures are of the same images
_DATA = ("source", "validation", "held_out", "classes", "examples", "split_seed")


@dataclass(frozen=True)
class Search:
    """The search of one recipe.

    Attributes:
        label: of its runs, such as "digits-kd".
        recipe: as it was named.
        base: the resolved recipe as it is written.
        space: by field of its last stage.
    """

    label: str
    recipe: str
    base: dict[str, Any]
    space: dict[str, Axis]

    @property
    def stage(self) -> Mapping[str, Any]:
        """The last stage, as plain values."""
        return last_stage(self.base)

    @property
    def several(self) -> bool:
        """Whether several students learn together, of which the first, the recipe's model, is the one that counts."""
        return len(self.planned({}).student.networks) > 1

    @property
    def own(self) -> dict[str, Any] | None:
        """The point at which the recipe is as written; None where that is not in the space."""
        found = {key: value_at(self.base, key) for key in self.space}
        if not all(self.space[key].holds(value) for key, value in found.items()):
            return None
        return {key: self.space[key].spelled(value) for key, value in found.items()}

    def tree(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resolved recipe at a point of the space."""
        changed = with_values(self.base, values)
        return changed_reference(changed, values) if "reference" in changed and values != self.own else changed

    def planned(self, values: Mapping[str, Any]) -> Plan:
        """Return the plan at a point of the space.

        Raises:
            LimbeckError: values that are each allowed are not together.
        """
        return plan(self.tree(values), self.label)

    def trials(self, budget: int) -> int:
        """Return how many trials there will be: the budget, or as many as the space has points."""
        there = points(self.space)
        return budget if there is None else min(budget, there)


@dataclass(frozen=True)
class Prepared:
    """What has been read and checked; nothing has run.

    Attributes:
        folder: where it goes; its runs are in `trials/`.
        searches: one per recipe.
        trials: the budget of each.
        by: the figure of the validation split that chooses.
        jobs: runs at a time.
        threads: of each run.
        accelerator: of the runs.
        command: that makes it.
    """

    folder: Path
    searches: list[Search]
    trials: int
    by: Figure
    jobs: int
    threads: int
    accelerator: str
    command: str

    @property
    def name(self) -> str:
        """What it is called."""
        return "+".join(search.label for search in self.searches)

    def order(self, search: Search, number: int, found: Plan) -> Order:
        """Return the run of a trial (counted from 1)."""
        name = trial_name(search.label, number)
        recipe = found.plain(list(found.stages)[-1])
        return Order(name, str(self.folder / "trials" / name), recipe, self.threads, self.accelerator)


def trial_name(label: str, number: int) -> str:
    """Return what a trial's run and its folder are called."""
    return f"{label}-{number:03d}"


def prepare(
    recipes: Sequence[str],
    settings: Sequence[str],
    *,
    trials: int,
    by: str,
    folder: Path | None,
    jobs: int,
    threads: int,
    accelerator: str,
    command: str,
) -> Prepared:
    """Read what is asked for, and check it.

    Args:
        recipes: names of shipped recipes, files, or rows of files.
        settings: `key=value`; where the value is a range, or choices, the field is searched in every recipe that has
            it, and otherwise it is an override of all recipes.
        trials: of each recipe.
        by: key of the figure that chooses.
        folder: None for `tune/` and the recipes' names.
        jobs: runs at a time, at most one of a recipe.
        threads: of each run.
        accelerator: of the runs.
        command: that was given.

    Raises:
        LimbeckError: says what is wrong, and in which recipe or field.
    """
    chosen = figure(by)
    named = {re.sub(r"[^\w+-]", "-", run_name(name)): name for name in recipes}
    if len(named) < len(recipes):
        raise LimbeckError("two of the recipes have the same name: name each once")
    if jobs > len(recipes):
        raise LimbeckError(
            f"--jobs {jobs}: the trials of a recipe follow each other, so at most {len(recipes)} can run at a time here"
        )
    if folder is None and len("+".join(named)) > LONGEST:
        raise LimbeckError("the names of all recipes make a long folder: name one by --out")
    asked = _asked(settings)
    fixed = [text for text in settings if text.partition("=")[0] not in asked]
    trees = {label: recipe_tree(name) for label, name in named.items()}
    plans = _planned(trees, named, fixed)
    _check_alike(plans, named)
    require_optuna()
    bases = {label: found.plain(list(found.stages)[-1]) for label, found in plans.items()}
    ranges: dict[str, dict[str, Axis]] = {label: {} for label in named}
    for key, axis in asked.items():
        keys = {label: own_key(base, key) for label, base in bases.items()}
        check_key(list(bases.values()), next(iter(keys.values())), f"{key}={axis}")
        for label, own in keys.items():
            if has(bases[label], own):
                ranges[label][own] = axis
    searches = []
    for label, name in named.items():
        written = _written(trees[label], bases[label], name)
        set_here = [
            own_key(bases[label], text.partition("=")[0]) for text in fixed if not _of_others(text, plans[label])
        ]
        space = _laid(_laid(default_space(bases[label]), written), ranges[label])
        space = {key: axis for key, axis in space.items() if not any(_overlap(key, other) for other in set_here)}
        _refuse_overlaps(space, name)
        space = {
            key: checked(bases[label], key, axis, f"the range {key}={axis} of {name}") for key, axis in space.items()
        }
        searches.append(Search(label, name, bases[label], space))
    place = folder or Path("tune") / "+".join(named)
    return Prepared(place, searches, trials, chosen, jobs, threads, accelerator, command)


def _planned(trees: Mapping[str, Mapping[str, Any]], named: Mapping[str, str], fixed: Sequence[str]) -> dict[str, Plan]:
    """Return the plans of recipes as they are written; a scale ranks the networks of all, as in a study."""
    scales = [text for text in fixed if text.startswith("scale=")]
    rest = [text for text in fixed if text not in scales]
    scaled = {label: overridden(tree, scales) for label, tree in trees.items()}
    plans = {label: plan(tree, named[label], rest) for label, tree in scaled.items()}
    if len(plans) == 1:
        return plans
    return {label: plan(tree, named[label], rest) for label, tree in ranked(scaled, "tune", rest).items()}


def _asked(settings: Sequence[str]) -> dict[str, Axis]:
    """Return the fields whose value is a range, or choices."""
    found: dict[str, Axis] = {}
    for text in settings:
        key, _, value = text.partition("=")
        if (axis := read_axis(value, text)) is not None:
            if key in found:
                raise LimbeckError(f"{key} has two ranges: give it one")
            found[key] = axis
    return found


def _written(tree: Mapping[str, Any], base: Mapping[str, Any], name: str) -> dict[str, Axis]:
    """Return the space that a recipe has written down in `tune`; a single value takes a field out of the search."""
    given = tree.get("tune", {})
    if not isinstance(given, Mapping):
        raise LimbeckError(f"{name}: tune is a mapping of fields to ranges, such as method.alpha: 0.1..0.9")
    found: dict[str, Axis] = {}
    for key, value in flat(given).items():
        where = f"{name}: tune: {key}: {value}"
        axis = read_axis(value, where) if isinstance(value, str) else None
        own = own_key(base, key)
        check_key([base], own, where)
        found[own] = Choices((value,)) if axis is None else axis
    return found


def _laid(space: Mapping[str, Axis], over: Mapping[str, Axis]) -> dict[str, Axis]:
    """Return a space with another one laid over it."""
    left = {key: axis for key, axis in space.items() if not any(_overlap(key, other) for other in over)}
    return left | dict(over)


def _overlap(key: str, other: str) -> bool:
    """Say whether two keys are of the same field, or one within the other's; `method` as a whole is no field."""
    if "." not in other:
        return False
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _of_others(text: str, found: Plan) -> bool:
    """Say whether an override is of a stage before the last."""
    parts = text.partition("=")[0].split(".")
    return parts[0] == "stages" and parts[1:2] != [list(found.stages)[-1]]


def _refuse_overlaps(space: Mapping[str, Axis], name: str) -> None:
    for key in space:
        for other in space:
            if key != other and _overlap(key, other):
                raise LimbeckError(f"{name}: {min(key, other, key=len)} and {max(key, other, key=len)} are one field")


def _check_alike(plans: Mapping[str, Plan], named: Mapping[str, str]) -> None:
    """Refuse recipes that cannot be chosen from, or of which one would have more epochs or other images.

    Raises:
        LimbeckError: says which.
    """
    first: tuple[str, int, dict[str, Any]] | None = None
    for label, found in plans.items():
        stage, name = found.student, named[label]
        if stage.task.name != "classification":
            raise LimbeckError(f"{name}: a search chooses by how images are classified, and task is {stage.task.name}")
        if not stage.data.validated:
            raise LimbeckError(
                f"{name} has no validation split, on which a search chooses: hold one out, by data.validation=0.1"
            )
        plain = last_stage(found.plain(list(found.stages)[-1]))["data"]
        data, epochs = flat({key: plain[key] for key in _DATA if key in plain}), stage.training.last_epoch
        if first is None:
            first = (name, epochs, data)
            continue
        if epochs != first[1]:
            raise LimbeckError(
                f"{first[0]} trains for {first[1]} epochs and {name} for {epochs}: "
                "give both the same budget, by training.epochs"
            )
        for key in [*first[2], *data]:
            if first[2].get(key) != data.get(key):
                raise LimbeckError(
                    f"{first[0]} and {name} have other data (data.{key} is {first[2].get(key)} and {data.get(key)}): "
                    "their figures could not be compared"
                )
