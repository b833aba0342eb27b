"""Every method has a limit in which it is something else: the same trajectory, weight by weight."""

import pytest
import torch

from limbeck.core import Constant, Output, Until
from limbeck.targets import CSKD, KDCL, PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg, TfKDSelf


def teacher(view):
    generator = torch.Generator().manual_seed(0)
    return Output(view.flatten(1) @ torch.randn(64, 4, generator=generator))


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize(
    "method",
    [
        LabelSmoothing(0.0),
        LabelSmoothing(0.0, "others"),
        Hinton(0.0, 4.0),
        TfKDSelf(0.0),
        TfKDReg(0.0),
        TfKDReg(0.0, reading="code"),
        CSKD(0.0),
        KDCL("linear"),
        PSKD(0.0),
        PSKD(0.0, bank="ram"),
        PSKD(0.0, bank="disk"),
        PSKD(0.0, memory="model"),
    ],
)
def test_at_weight_zero_every_method_is_cross_entropy(train, weights, method, mix):
    taught = teacher if method.needs.teacher else None
    assert torch.equal(weights(train(CrossEntropy(), mix=mix)), weights(train(method, taught, mix=mix)))


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"mix": True}], ids=str)
def test_the_home_of_past_predictions_changes_no_bit(train, weights, settings):
    device, ram, disk = (weights(train(PSKD(0.8, bank=bank), **settings)) for bank in ("device", "ram", "disk"))
    assert torch.equal(device, ram)
    assert torch.equal(device, disk)


def test_compressed_past_predictions_in_their_limits(train, weights):
    whole = weights(train(PSKD(0.8)))
    # of four classes the three largest leave the fourth its own share
    torch.testing.assert_close(weights(train(PSKD(0.8, top_k=3))), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights(train(PSKD(0.8, dtype="float16"))), whole, rtol=1e-2, atol=1e-3)
    assert torch.equal(weights(train(PSKD(0.8, window=2), epochs=2)), weights(train(PSKD(0.8), epochs=2)))
    assert not torch.allclose(weights(train(PSKD(0.8, average=0.5))), whole, atol=1e-4)


@pytest.mark.parametrize("memory", ["predictions", "model"])
def test_the_first_epoch_of_pskd_is_cross_entropy(train, weights, memory):
    plain, own = weights(train(CrossEntropy(), epochs=1)), weights(train(PSKD(0.8, memory=memory), epochs=1))
    torch.testing.assert_close(own, plain, rtol=1e-5, atol=1e-6)


def test_pskd_leaves_cross_entropy_from_the_second_epoch_on(train, weights):
    assert not torch.allclose(weights(train(CrossEntropy())), weights(train(PSKD(0.8))), atol=1e-4)


def test_kd_stopped_at_the_end_is_kd_and_stopped_at_the_start_is_cross_entropy(train, weights):
    kd = weights(train(Hinton(0.7, 2.0), teacher))
    assert torch.equal(kd, weights(train(Hinton(Constant(0.7), 2.0), teacher)))
    assert torch.equal(kd, weights(train(Hinton(Until(0.7, 3), 2.0), teacher)))
    assert torch.equal(weights(train(CrossEntropy())), weights(train(Hinton(Until(0.7, 0), 2.0), teacher)))


def test_kd_from_a_uniform_teacher_at_temperature_one_is_label_smoothing(train, weights):
    uniform = weights(train(Hinton(0.2, 1.0), lambda view: Output(torch.zeros(len(view), 4))))
    torch.testing.assert_close(uniform, weights(train(LabelSmoothing(0.2))), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "same"),
    [
        (TfKDSelf(0.7, 2.0), Hinton(0.7, 2.0)),
        (TfKDSelf(0.7, 2.0, "code", 4.0), Hinton(0.7, 2.0)),
        (Hinton(0.7, 2.0, "mean"), TfKDSelf(0.7, 2.0, "code")),
        (TfKDReg(0.5, 1.0, 0.8), LabelSmoothing(0.1, "others")),
        (LabelSmoothing(0.12, "others"), LabelSmoothing(0.16)),
    ],
)
def test_limits_of_the_teacher_free_methods(train, weights, method, same):
    """Four classes: a multiplier of 4 makes up for the mean over classes."""
    one, two = (weights(train(one, teacher if one.needs.teacher else None)) for one in (method, same))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [TfKDReg(0.9, 3.0), CSKD(2.0, 2.0)])
def test_other_methods_leave_cross_entropy_at_once(train, weights, method):
    assert not torch.allclose(weights(train(CrossEntropy(), epochs=1)), weights(train(method, epochs=1)), atol=1e-4)


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("method", [CrossEntropy(), PSKD(0.8), PSKD(0.8, memory="model"), CSKD(), TfKDReg()])
def test_accumulation_is_one_batch(train, weights, method, mix):
    whole, cut = weights(train(method, mix=mix)), weights(train(method, mix=mix, accumulate=4))
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [CrossEntropy(), LabelSmoothing(0.1), PSKD(0.8), CSKD(), TfKDReg()])
def test_the_same_seed_gives_the_same_weights(train, weights, method):
    assert torch.equal(weights(train(method, mix=True)), weights(train(method, mix=True)))


def test_no_epoch_average_at_decay_zero_is_the_last_weights(train, weights):
    assert torch.equal(weights(train(CrossEntropy())), weights(train(CrossEntropy(), ema=0.0)))
    assert not torch.equal(weights(train(CrossEntropy())), weights(train(CrossEntropy(), ema=0.9)))


def test_a_clip_that_never_binds_changes_nothing(train, weights):
    assert torch.equal(weights(train(CrossEntropy())), weights(train(CrossEntropy(), clip=1e6)))
    assert not torch.equal(weights(train(CrossEntropy())), weights(train(CrossEntropy(), clip=1e-3)))
