"""What every kind of data in a recipe has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import torch

from limbeck.data.examples import Examples


class Splits(NamedTuple):
    """The examples of a run.

    Attributes:
        train: to learn from.
        validation: cut from the source's training set, with ids of the same space, or a split of the source's own;
            never changed at random. None if none.
        test: what finished runs are evaluated on: the source's test set, with ids of its own (0..N-1), never changed at
            random; or the validation split itself, where `Data.evaluate` says so.
        held_out: cut from the source's training set like the validation split, for methods that weigh their students
            by it. None if none.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    held_out: Examples | None = None


class DataChoice(ABC):
    """Which examples a network learns from."""

    @property
    @abstractmethod
    def validated(self) -> bool:
        """Whether there is a validation split."""

    @property
    def holds_out(self) -> bool:
        """Whether there are held-out examples beside it."""
        return False

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with others."""
        return False

    @abstractmethod
    def load(self, device: torch.device | str) -> Splits:
        """Read the source and cut it.

        Raises:
            LimbeckError: files are missing or broken, or the examples can't be cut so.
        """

    @abstractmethod
    def known_classes(self) -> tuple[str, ...] | None:
        """Read the source, and return the names of its classes as the data use them; None where they are learned.

        Raises:
            LimbeckError: files are missing or broken, or there are not so many classes.
        """

    @property
    def evaluated(self) -> Literal["test", "validation"]:
        """What finished runs are evaluated on."""
        return "test"

    def tested_alone(self, run: Any) -> dict[str, Any]:
        """Return what changes of a recipe's data where only the test set of a run's folder is read."""
        return {}
