"""What is proposed: the same for the same past, better than chance, nothing twice."""

import sys

import pytest

from limbeck.core import LimbeckError
from limbeck.tuning.sampler import STARTUP, Told, propose, require_optuna
from limbeck.tuning.space import Choices, Range

SPACE = {
    "x": Range(0.0, 1.0),
    "t": Range(1.0, 100.0, log=True),
    "n": Range(1.0, 64.0, whole=True),
    "c": Choices(("a", None, True)),
}


def search(space, figure, trials):
    history = []
    for _ in range(trials):
        values = propose(space, history)
        history.append(Told(values, figure(values)))
    return history


def bowl(values):
    return (values["x"] - 0.3) ** 2 + (0.0 if values["c"] is None else 0.1)


def test_the_same_past_leads_to_the_same_proposals_wherever_it_is_taken_up():
    whole = search(SPACE, bowl, 9)
    assert whole == search(SPACE, bowl, 9)
    assert propose(SPACE, whole[:7]) == whole[7].values
    assert propose(SPACE, whole[:2]) == whole[2].values


def test_values_are_of_the_space_and_differ():
    history = search(SPACE, bowl, 12)
    for told in history:
        assert all(axis.holds(told.values[key]) for key, axis in SPACE.items())
        assert isinstance(told.values["n"], int)
    assert len({str(told.values) for told in history}) == 12
    assert {told.values["c"] for told in history} >= {None, True}


def test_what_is_proposed_gathers_where_the_figure_is_low():
    history = search(SPACE, bowl, 40)
    late = history[-15:]
    assert sum(told.values["c"] is None for told in late) >= 10
    assert sum(abs(told.values["x"] - 0.3) < 0.2 for told in late) >= 10
    assert min(told.figure for told in history) < 1e-3


def test_failed_trials_are_kept_away_from():
    def fails(values):
        return None if values["t"] > 10 else abs(values["x"] - 0.5)

    history = search(SPACE, fails, 30)
    assert sum(told.figure is None for told in history[:STARTUP]) >= 1
    assert sum(told.figure is None for told in history[-15:]) <= 3


def test_a_space_that_can_be_counted_is_tried_point_by_point_and_then_has_no_more():
    space = {"c": Choices(("a", "b")), "n": Range(1.0, 3.0, whole=True)}
    history = search(space, lambda values: values["n"], 6)
    assert len({(told.values["c"], told.values["n"]) for told in history}) == 6
    assert propose(space, history) is None
    assert propose({}, []) == {}
    assert propose({}, [Told({}, 0.1)]) is None


def test_without_optuna_the_extra_is_named(monkeypatch):
    require_optuna()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(LimbeckError, match=r"needs optuna, which is not installed: pip install 'limbeck\[tune\]'"):
        require_optuna()
