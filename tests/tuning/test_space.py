"""Ranges and choices as they are written."""

import pytest

from limbeck.core import LimbeckError
from limbeck.tuning.space import Choices, Range, read_axis


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("0.1..0.9", Range(0.1, 0.9)),
        ("1..20:log", Range(1.0, 20.0, log=True)),
        ("1e-5..1e-1:log", Range(1e-5, 0.1, log=True)),
        (".5..2", Range(0.5, 2.0)),
        ("-1..1", Range(-1.0, 1.0)),
        ("naive,linear", Choices(("naive", "linear"))),
        ("null, 0.5,1", Choices((None, 0.5, 1))),
        ("true,1", Choices((True, 1))),
        ("0.5", None),
        ("pskd", None),
        ("[0.1, 0.2]", None),
        ("{name: kd, alpha: 0.3}", None),
        ("'a, b'", None),
        ("../data", None),
        ("data/../other", None),
        ("../1", None),
    ],
)
def test_a_text_is_a_range_or_choices_or_one_value(text, axis):
    found = read_axis(text, text)
    assert found == axis
    if axis is not None:
        assert read_axis(str(axis), "again") == axis


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.9..0.1", "0.9..0.1: the range is empty: its low end is above its high one"),
        ("1..1", "1..1: the range is empty: its ends are equal"),
        ("0..1:log", "0..1:log: only what is above 0 has a logarithm: raise the low end, or leave :log out"),
        ("-1..1:log", "only what is above 0 has a logarithm"),
        ("1..", "1.. is no range: write LOW..HIGH, such as 0.1..0.9, or 1..20:log"),
        ("..1", "..1 is no range"),
        ("a..1", "a..1 is no range"),
        ("1..2:lin", "1..2:lin is no range"),
        ("0.1...0.9.", "is no range"),
        ("1e999..2", "the ends of a range are finite numbers"),
        ("a,,b", "choices are single values with commas between them"),
        ("a,", "choices are single values with commas between them"),
        ("a,b,a", "a is there twice: name each choice once"),
        ("1,1.0", "1 is there twice"),
    ],
)
def test_what_is_meant_as_a_range_and_is_none_is_refused(text, reason):
    with pytest.raises(LimbeckError) as error:
        read_axis(text, text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("axis", "value", "tidy"),
    [
        (Range(0.1, 0.9), 0.37454011884736254, 0.3745),
        (Range(1.0, 20.0, log=True), 3.4567891, 3.457),
        (Range(1e-5, 0.1, log=True), 3.31234567e-5, 3.312e-5),
        (Range(100.0, 10000.0, log=True), 1234.5678, 1234.6),
        (Range(0.99990, 0.99999), 0.999912345, 0.99991234),
        (Range(0.0333333, 0.0333339), 0.0333333, 0.0333333),
        (Range(8.0, 64.0, whole=True), 23, 23),
    ],
)
def test_values_have_few_digits_and_stay_inside(axis, value, tidy):
    assert axis.tidied(value) == pytest.approx(tidy, rel=1e-3, abs=0)
    assert len(f"{axis.tidied(value)!r}") <= 10
    assert axis.low <= axis.tidied(value) <= axis.high
    assert axis.tidied(axis.low) == axis.low
    assert axis.tidied(axis.high) == axis.high


def test_a_value_is_inside_or_not():
    assert Range(1.0, 4.0, whole=True).holds(4.0)
    assert not Range(1.0, 4.0, whole=True).holds(1.5)
    assert not Range(0.0, 1.0).holds(True)
    assert not Range(0.0, 1.0).holds(None)
    assert not Range(0.0, 1.0).holds("0.5")
    assert Choices((0.5, None)).holds(None)
    assert not Choices((0, 2)).holds(False)
    assert type(Range(1.0, 4.0).spelled(2)) is float
    assert type(Range(1.0, 4.0, whole=True).spelled(2.0)) is int
