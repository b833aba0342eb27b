"""Every method of the table passes the suite that is shipped for users' own."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.targets import CSKD, METHODS, PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg, TfKDSelf
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


class TestLabelSmoothingOverTheOthers(TargetWriterSuite):
    def make(self):
        return LabelSmoothing(0.2, "others")


class TestTfKDSelf(TargetWriterSuite):
    def make(self):
        return TfKDSelf(0.7, 3.0)


class TestTfKDReg(TargetWriterSuite):
    def make(self):
        return TfKDReg(0.5, 5.0)


class TestTfKDRegAsInTheCode(TargetWriterSuite):
    def make(self):
        return TfKDReg(0.5, 5.0, reading="code")


class TestCSKD(TargetWriterSuite):
    def make(self):
        return CSKD(1.0, 4.0)


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
    for make in (PSKD, LabelSmoothing, Hinton, TfKDSelf, TfKDReg, lambda share: TfKDReg(correct=share)):
        with pytest.raises(ValueError, match=r"alpha|epsilon|correct"):
            make(value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), "4"])
def test_temperatures_are_positive(value):
    for make in (Hinton, TfKDSelf, TfKDReg, CSKD):
        with pytest.raises(ValueError, match="temperature"):
            make(temperature=value)


@pytest.mark.parametrize("correct", [0.0, 0.05, 0.1])
def test_a_virtual_teacher_no_better_than_chance_is_refused(correct):
    with pytest.raises(LimbeckError, match=r"method\.correct is .* set it above 0\.1"):
        TfKDReg(correct=correct).check(10)
    TfKDReg(correct=correct + 0.11).check(10)
