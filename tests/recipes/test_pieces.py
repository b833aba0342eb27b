"""Fields of a recipe that are given as arguments."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.matching import AttentionTransfer
from limbeck.recipes.pieces import read_matchers


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"name": "ft", "rate": 3}, "matchers.1.rate: must be at most 1"), ("fit", "matchers.1: unknown name 'fit'")],
)
def test_an_error_says_which_matcher_it_is_of(wrong, said):
    with pytest.raises(LimbeckError, match=said):
        read_matchers(["at", wrong])


def test_objects_are_taken_as_they_are():
    mine = AttentionTransfer(weight=3.0)
    found = read_matchers(["ft", mine])
    assert found[1] is mine
