"""What is tried next: optuna's TPE, as a function of what was tried before and of nothing else.

TPE (Bergstra et al., NIPS 2011; the multivariate form of Falkner et al., ICML 2018) models where the better trials
lie and where the others do, and proposes where the ratio is largest. Nothing of it is kept between trials: each
proposal has a seed of its own, from the number of the trial, so a search that goes on proposes what one that was never
stopped would.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.tuning.space import Axis, Choices, Range

SEED = 0
# trials drawn at random before the model has its say
STARTUP = 5
# proposals that are none, since the same was tried before, until whatever is left of a countable space is taken
ATTEMPTS = 20


class Told(NamedTuple):
    """What came out of a trial.

    Attributes:
        values: of the fields.
        figure: lower is better; None where the trial failed, which counts as the worst.
    """

    values: Mapping[str, Any]
    figure: float | None


def require_optuna() -> None:
    """Check that optuna is there.

    Raises:
        LimbeckError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise LimbeckError("a search needs optuna, which is not installed: pip install 'limbeck[tune]'") from error


def points(space: Mapping[str, Axis]) -> int | None:
    """Return how many points a space has; None where they cannot be counted. A space of no field has one."""
    counts = [None if axis.points is None else len(axis.points) for axis in space.values()]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def propose(space: Mapping[str, Axis], history: Sequence[Told]) -> dict[str, Any] | None:
    """Return the values of the next trial, none of which was tried before; None where the space has no more."""
    tried = [dict(told.values) for told in history]
    whole = points(space)
    if whole is not None and len(tried) >= whole:
        return None
    for attempt in range(ATTEMPTS if space else 0):
        if (values := _asked(space, history, attempt)) not in tried:
            return values
    named = (
        dict(zip(space, point, strict=True)) for point in itertools.product(*(a.points or () for a in space.values()))
    )
    return next((values for values in named if values not in tried), None)


def _asked(space: Mapping[str, Axis], history: Sequence[Told], attempt: int) -> dict[str, Any]:
    """Return what optuna proposes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: _distribution(axis) for key, axis in space.items()}
    seed = int(np.random.SeedSequence([SEED, len(history), attempt]).generate_state(1)[0])
    with warnings.catch_warnings():
        # the multivariate form is called experimental by optuna 4
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
    study = optuna.create_study(sampler=sampler)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={key: _coded(axis, told.values[key]) for key, axis in space.items()},
                distributions=distributions,
                value=math.inf if told.figure is None else told.figure,
            )
            for told in history
        ]
    )
    found = study.ask(distributions).params
    return {key: _decoded(axis, found[key]) for key, axis in space.items()}


def _distribution(axis: Axis) -> Any:
    from optuna import distributions

    if isinstance(axis, Choices):
        return distributions.CategoricalDistribution(range(len(axis.values)))
    if axis.whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def _coded(axis: Axis, value: Any) -> Any:
    return axis.place(value) if isinstance(axis, Choices) else value


def _decoded(axis: Axis, value: Any) -> Any:
    return axis.tidied(value) if isinstance(axis, Range) else axis.values[value]
