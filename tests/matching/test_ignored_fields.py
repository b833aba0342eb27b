"""A field of a matcher that would change nothing is refused, with what to do."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.recipes.pieces import read_matchers


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "ft", "coder": "autoencoder", "batch_norm": True}, "the auto-encoder always has it: leave it out"),
        ({"name": "ft", "factors": 8, "rate": 0.25}, "factors and rate say the same: set one of them"),
        ({"name": "ie", "matcher": "at", "split_seed": 1}, "split_seed is of a random split: set split to random"),
        ({"name": "ft", "distance": "cosine", "form": "size_free"}, "the cosine has one only: leave it out"),
        (
            {"name": "ft", "coder": "autoencoder", "between": "peers", "coder_lr": 0.5},
            "leave coder_epochs and coder_lr",
        ),
        (
            {"name": "ie", "matcher": "at", "ratio": 1, "explore": 50},
            "a ratio of 1 leaves no channel .*leave explore out",
        ),
        (
            {"name": "ie", "matcher": "at", "ratio": 0, "inherit": 50},
            "a ratio of 0 leaves no channel .*leave inherit out",
        ),
    ],
)
def test_a_field_without_effect_is_refused(fields, said):
    with pytest.raises(LimbeckError, match=said):
        read_matchers([fields])


def test_where_they_have_an_effect_they_are_taken():
    taken = [
        {"name": "ft", "batch_norm": True, "rate": 0.25, "form": "size_free"},
        {"name": "ft", "coder": "autoencoder", "factors": 8},
        {"name": "ie", "matcher": "at", "split": "random", "split_seed": 1},
        {"name": "ft", "coder": "autoencoder", "between": "peers", "coder_error": 2},
        {"name": "ie", "matcher": "at", "ratio": 1, "inherit": 50, "explore": 0},
    ]
    assert len(read_matchers(taken)) == 5
