"""Every method of the table passes the suite that is shipped for users' own."""

import pytest

from limbeck.core.stopping import AtEpoch, Patience
from limbeck.errors import LimbeckError
from limbeck.targets import CSKD, DML, KDCL, METHODS, ONE, PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg, TfKDSelf
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


class TestHintonStoppedAfterAnEpoch(TargetWriterSuite):
    def make(self):
        return Hinton(0.7, 3.0, stop=AtEpoch(1))


class TestHintonStoppedByPatience(TargetWriterSuite):
    def make(self):
        return Hinton(0.7, 3.0, stop=Patience(2), label_after="rest")


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


class TestPSKDOnDiskByTheLargestEntries(TargetWriterSuite):
    def make(self):
        return PSKD(0.8, bank="disk", dtype="float16", top_k=2)


class TestPSKDOverAWindow(TargetWriterSuite):
    def make(self):
        return PSKD(0.8, dtype="float16", window=2, weights=(2.0, 1.0), average=0.3)


class TestPSKDByTheModel(TargetWriterSuite):
    def make(self):
        return PSKD(0.8, memory="model")


class TestKDCL(TargetWriterSuite):
    def make(self):
        return KDCL()


class TestONE(TargetWriterSuite):
    def make(self):
        return ONE(split="3", weight=0.5)


class TestDML(TargetWriterSuite):
    def make(self):
        return DML(0.7, 2.0)


def test_every_method_is_tested_here():
    tested = {type(suite().make()) for suite in TargetWriterSuite.__subclasses__()}
    assert tested == set(METHODS.values())


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", True])
def test_shares_outside_zero_to_one_and_other_types_are_refused(value):
    for make in (PSKD, LabelSmoothing, Hinton, TfKDSelf, TfKDReg, lambda share: TfKDReg(correct=share)):
        with pytest.raises(ValueError, match=r"alpha|epsilon|correct"):
            make(value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"window": 2, "weights": (1.0,)}, "a window of 2 epochs needs as many weights, and has 1"),
        ({"weights": (1.0, 1.0)}, "a window of 1 epochs needs as many weights, and has 2"),
        ({"window": 1, "weights": (0.0,)}, "weights"),
        ({"window": 0}, "window"),
        ({"top_k": 0}, "top_k"),
        ({"bank": "tape"}, "'device', 'ram' or 'disk'"),
        ({"memory": "model", "bank": "ram"}, "memory: model keeps no predictions, so bank means nothing"),
        ({"memory": "model", "window": 2}, "so window means nothing: leave it out"),
    ],
)
def test_settings_of_pskd_that_mean_nothing_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        PSKD(**fields)


def test_a_top_k_that_keeps_all_is_refused_before_the_first_step():
    PSKD(top_k=9).check(10)
    with pytest.raises(LimbeckError, match="top_k is 10 and there are 10 classes: set it below, or to null"):
        PSKD(top_k=10).check(10)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"per": "batch"}, "per means nothing to the minlogit ensemble: leave it out"),
        ({"ensemble": "general", "per": "batch"}, "per means nothing to the general ensemble"),
        ({"ensemble": "linear", "weights": "closed-form"}, "weights means nothing to the linear ensemble"),
        ({"ensemble": "mean"}, "'naive', 'linear', 'minlogit' or 'general'"),
        ({"weight": -1.0}, "weight"),
    ],
)
def test_settings_of_kdcl_that_mean_nothing_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        KDCL(**fields)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), "4"])
def test_temperatures_are_positive(value):
    for make in (Hinton, TfKDSelf, TfKDReg, CSKD, KDCL):
        with pytest.raises(ValueError, match="temperature"):
            make(temperature=value)


@pytest.mark.parametrize("correct", [0.0, 0.05, 0.1])
def test_a_virtual_teacher_no_better_than_chance_is_refused(correct):
    with pytest.raises(LimbeckError, match=r"method\.correct is .* set it above 0\.1"):
        TfKDReg(correct=correct).check(10)
    TfKDReg(correct=correct + 0.11).check(10)
