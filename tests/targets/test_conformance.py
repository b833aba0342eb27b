"""Every method of the table passes the suite that is shipped for users' own."""

import pytest

from limbeck.targets import METHODS, PSKD, CrossEntropy, Hinton, LabelSmoothing
from limbeck.testing import TargetWriterSuite


class TestCrossEntropy(TargetWriterSuite):
    def make(self):
        return CrossEntropy()


class TestLabelSmoothing(TargetWriterSuite):
    def make(self):
        return LabelSmoothing(0.2)


class TestHinton(TargetWriterSuite):
    def make(self):
        return Hinton(0.7, 3.0)


class TestPSKD(TargetWriterSuite):
    def make(self):
        return PSKD(0.8)


class TestPSKDInRam(TargetWriterSuite):
    def make(self):
        return PSKD(0.8, bank="ram")


def test_every_method_is_tested_here():
    tested = {type(suite().make()) for suite in TargetWriterSuite.__subclasses__()}
    assert tested == set(METHODS.values())


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", True])
def test_shares_outside_zero_to_one_and_other_types_are_refused(value):
    for make in (lambda: PSKD(value), lambda: LabelSmoothing(value), lambda: Hinton(value)):
        with pytest.raises(ValueError, match=r"alpha|epsilon"):
            make()


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), "4"])
def test_temperatures_are_positive(value):
    with pytest.raises(ValueError, match="temperature"):
        Hinton(0.5, value)
