"""Who runs when: every run once, no stage trained twice, a failure only its own.

Runs that share a stage which is not there yet do not begin together: the first one trains it, the others wait until it
is there. Whoever carries the runs out is an `Executor`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from limbeck.core.config import fields_of
from limbeck.errors import LimbeckError
from limbeck.plain import whole_recipe_of
from limbeck.studies.orders import Event, Order, Report
from limbeck.teachers.plan import Plan
from limbeck.train.job import effective
from limbeck.train.progress import Display


class Executor(ABC):
    """Carries out orders.

    Attributes:
        reads_here: whether its runs read their data on this machine.
    """

    reads_here: bool = True

    @property
    @abstractmethod
    def free(self) -> bool:
        """Whether another order can be started."""

    @abstractmethod
    def start(self, order: Order, report: Report) -> None:
        """Begin a run, or make it."""

    @abstractmethod
    def wait(self, report: Report) -> None:
        """Report what has happened since; wait for something to happen, but not for long."""

    @abstractmethod
    def close(self) -> None:
        """End what is still going on; nothing happens where it has ended."""


def stage_keys(plan: Plan) -> dict[str, str]:
    """Return a hash of each stage before the last: equal ones are one stage, trained once."""
    return _keys({name: fields_of(stage) for name, stage in list(plan.stages.items())[:-1]})


def stages_there(place: Path) -> set[str]:
    """Return the keys of the finished stages in a folder, by their recipes as in `finished`; damaged ones are not told.

    Args:
        place: `stages/` beside runs.
    """
    found: set[str] = set()
    for results in sorted(place.glob("*-*/results.json")):
        folder = results.parent
        name = folder.name.rpartition("-")[0]
        with contextlib.suppress(LimbeckError):
            recipe = whole_recipe_of(folder)
            found.add(_keys(recipe.get("stages", {name: recipe})).get(name, ""))
    return found


def _keys(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, fields in stages.items():
        before = [keys.get((fields.get(field) or {}).get("stage") or "") for field in ("teacher", "backbone")]
        content = json.dumps([name, effective(fields), *before], sort_keys=True)
        keys[name] = hashlib.sha256(content.encode()).hexdigest()
    return keys


def finished(order: Order) -> bool:
    """Say whether a run is there already.

    Its recipe is compared, not the content of its data, which would have to be read for that.

    Raises:
        LimbeckError: the run's folder holds another one.
    """
    folder = Path(order.folder)
    done = (folder / "results.json").exists()
    if not done and not any((folder / "checkpoints").glob("*.pt")):
        return False
    try:
        there = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise LimbeckError(f"{folder / 'recipe.yaml'} is missing or damaged; remove its folder") from error
    before, now = leaves(there), leaves(order.recipe)
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            raise LimbeckError(
                f"{folder} holds another run ({key} is {before.get(key)} there and {now.get(key)} here): "
                "choose another folder by --out, or remove this one"
            )
    return done


def leaves(recipe: Any) -> dict[str, Any]:
    """Return the leaves of a recipe and its stages that change a result."""
    if not isinstance(recipe, Mapping):
        return {}
    stages = recipe.get("stages", {"": recipe})
    return {
        f"{name}.{key}".lstrip("."): value
        for name, fields in stages.items()
        for key, value in effective(fields).items()
    }


def _places(orders: Mapping[str, Order]) -> set[Path]:
    """Return where the stages of runs go."""
    return {Path(order.folder).parent / "stages" for order in orders.values()}


class Course:
    """The runs of a study in the course of being made.

    Args:
        orders: by name.
        plans: of each.
        display: where progress goes.
        title: what progress is called.
    """

    def __init__(self, orders: Mapping[str, Order], plans: Mapping[str, Plan], display: Display, title: str) -> None:
        self.failures: dict[str, Event] = {}
        self.made: list[str] = []
        self._title, self._display = title, display
        self._waiting = [name for name, order in orders.items() if not finished(order)]
        self._orders = orders
        self._keys = {name: stage_keys(plans[name]) for name in self._waiting}
        self._there = {key for place in _places(orders) for key in stages_there(place)} if self._waiting else set()
        self._epochs: dict[str, int] = {}
        for name in self._waiting:
            *before, last = plans[name].stages.items()
            keys = {self._keys[name][stage]: fields.training.last_epoch for stage, fields in before}
            self._epochs |= {key: epochs for key, epochs in keys.items() if key not in self._there}
            self._epochs[name] = last[1].training.last_epoch
        self._done = dict.fromkeys(self._epochs, 0)
        self._running: dict[str, str] = {}
        self._shown = ExitStack()
        self._begun = False
        self._told = 0

    @property
    def trainings(self) -> int:
        """How many trainings are to be made, shared stages among them."""
        return len(self._epochs)

    @property
    def epochs(self) -> int:
        """How many epochs these have in all."""
        return sum(self._epochs.values())

    @property
    def left(self) -> list[str]:
        """The runs that have not ended yet."""
        return [*self._running, *self._waiting]

    def run(self, executor: Executor, account: Callable[[], bool] = lambda: True) -> None:
        """Carry out what is not finished.

        Args:
            executor: who makes the runs.
            account: told when runs have ended and others are left; where it answers False it is told again later.
        """
        self._display.say(f"{self._title}: {len(self._waiting)} of {len(self._orders)} runs to make")
        with self._shown:
            while self._waiting or self._running:
                while executor.free and (name := self._next()) is not None:
                    self._waiting.remove(name)
                    self._running[name] = name
                    executor.start(self._orders[name], self._take)
                    self._tell(account)
                self._tell(account)
                if self._running:
                    executor.wait(self._take)

    def _tell(self, account: Callable[[], bool]) -> None:
        ended = len(self.made) + len(self.failures)
        if ended > self._told and self.left and account():
            self._told = ended

    def _next(self) -> str | None:
        """Return a run that needs no stage which another one may be training."""
        taken = {key for name in self._running for key in self._keys[name].values()} - self._there
        return next((name for name in self._waiting if not taken & set(self._keys[name].values())), None)

    def _take(self, event: Event) -> None:
        """Take in what happened."""
        if event.run not in self._running:
            return
        if not self._begun:  # the estimate counts from here, for processes and clusters take a while to start
            self._shown.enter_context(self._display.run(self._title, self.epochs))
            self._begun = True
        keys = self._keys[event.run]
        match event.kind:
            case "stage":
                # the stages before it are there
                names = list(keys)
                self._there |= (
                    {keys[name] for name in names[: names.index(event.text)]}
                    if event.text in keys
                    else (set(keys.values()))
                )
                self._running[event.run] = keys.get(event.text, event.run)
                self._advance(self._running[event.run], event.epoch)
            case "epoch":
                self._advance(self._running[event.run], event.epoch)
            case "say":
                if event.text.startswith("warning"):
                    self._display.say(f"{event.run}: {event.text}")
            case "done" | "failed":
                self._end(event, keys)

    def _end(self, event: Event, keys: Mapping[str, str]) -> None:
        del self._running[event.run]
        if event.kind == "failed":
            self.failures[event.run] = event
            self._display.say(f"{event.run} failed: {event.text}")
        else:
            self.made.append(event.run)
            self._there |= set(keys.values())
            for key in keys.values():
                self._advance(key, self._epochs.get(key, 0))
            left = len(self.left)
            self._display.say(f"{event.run} is done, {left} to go" if left else f"{event.run} is done")
        self._advance(event.run, self._epochs[event.run])

    def _advance(self, unit: str, epoch: int) -> None:
        if unit not in self._done:  # a stage that was there already, and keeps more of its weights now
            return
        before = sum(self._done.values())
        self._done[unit] = max(self._done[unit], min(epoch, self._epochs[unit]))
        if (now := sum(self._done.values())) > before:
            self._display.advance(now, {})
