"""Weights on the simplex, against scipy, brute force and bisection."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from limbeck.core.simplex import (
    _interior_point,
    closed_form_weights,
    easiest_mixture,
    general_weights,
    least_cross_entropy,
)
from limbeck.errors import LimbeckError


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hot(seed, *shape, classes):
    labels = torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(labels, classes).double()


def loss_of(z, q, w):
    """Return the mean cross-entropy of one group's mixture, z [samples, students, classes]."""
    y = np.einsum("m,nmk->nk", np.asarray(w), z)
    top = y.max(1, keepdims=True)
    return float((top[:, 0] + np.log(np.exp(y - top).sum(1)) - (q * y).sum(1)).mean())


def gaps(z, q, w):
    """Return Σ w (g - min g), the most by which the loss can miss its least value."""
    d = z - (z * q[:, :, None]).sum(-1, keepdim=True)
    p = torch.einsum("gm,gnmk->gnk", w, d).softmax(-1)
    g = torch.einsum("gnmk,gnk->gm", d, p) / z.shape[1]
    return (w * g).sum(1) - g.amin(1)


LOGITS = {
    "ordinary": lambda shape: 3 * draw(0, *shape),
    "tiny": lambda shape: 1e-6 * draw(0, *shape),
    "zero": lambda shape: torch.zeros(*shape, dtype=torch.float64),
    "extreme": lambda shape: 1e4 * (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(0)).double() - 1),
    "tied and extreme": lambda shape: 1e4 * draw(0, *shape).round().clamp(-1, 1),
    "equal students": lambda shape: (10 * draw(0, *shape))[:, :, :1].expand(shape).clone(),
    "twins": lambda shape: (10 * draw(0, *shape))[:, :, torch.arange(shape[2]) % 2],
    "one loud student": lambda shape: draw(0, *shape) * 10.0 ** (torch.arange(shape[2]) % 5)[:, None],
    "constants added": lambda shape: draw(0, *shape) + 1e4 * draw(1, *shape[:3], 1),
}


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("label", ["hard", "mixed", "far ahead"])
@pytest.mark.parametrize("shape", [(40, 1, 1, 5), (40, 1, 2, 3), (40, 1, 5, 100), (2, 64, 3, 10)], ids=str)
def test_the_duality_gap_of_the_least_cross_entropy_is_below_one_millionth(kind, label, shape):
    z, q = LOGITS[kind](shape), hot(2, *shape[:2], classes=shape[3])
    if label == "mixed":
        q = 0.3 * q + 0.7 * hot(3, *shape[:2], classes=shape[3])
    if label == "far ahead":
        z = z + 1e4 * q[:, :, None]
    w = least_cross_entropy(z, q)
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(1), torch.ones(len(w), dtype=w.dtype), rtol=0, atol=1e-12)
    assert gaps(z, q, w).max() < 1e-6


def test_the_fixed_number_of_steps_of_other_devices_gives_the_same(monkeypatch):
    z, q = LOGITS["extreme"]((40, 1, 4, 20)), hot(2, 40, 1, classes=20)
    stopped = least_cross_entropy(z, q)

    class Elsewhere:
        type = "elsewhere"

    centred = z - (z * q[:, :, None]).sum(-1, keepdim=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "device", property(lambda _: Elsewhere()))
        whole = _interior_point(centred)
    torch.testing.assert_close(whole, stopped, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("students", "samples"), [(3, 1), (5, 1), (3, 8)])
def test_least_cross_entropy_against_scipy(scale, students, samples):
    z, q = scale * draw(4, 10, samples, students, 6), hot(5, 10, samples, classes=6)
    w = least_cross_entropy(z, q)
    sums = {"type": "eq", "fun": lambda w: w.sum() - 1}
    for one, label, found in zip(z.numpy(), q.numpy(), w.tolist(), strict=True):
        start = np.full(students, 1 / students)
        best = minimize(
            lambda w, z=one, q=label: loss_of(z, q, w),
            start,
            method="SLSQP",
            bounds=[(0, 1)] * students,
            constraints=sums,
            options={"maxiter": 500, "ftol": 1e-12},
        )
        assert loss_of(one, label, found) <= best.fun + 1e-7
        assert loss_of(one, label, found) >= best.fun - 1e-3 * scale  # SLSQP may stop early, and never below the least


def test_two_students_against_a_bounded_search():
    z, q = 5 * draw(6, 20, 1, 2, 4), hot(7, 20, 1, classes=4)
    for one, label, found in zip(z.numpy(), q.numpy(), least_cross_entropy(z, q).tolist(), strict=True):
        best = minimize_scalar(
            lambda a, z=one, q=label: loss_of(z, q, [a, 1 - a]),
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert loss_of(one, label, found) == pytest.approx(best.fun, abs=1e-7)


def test_the_mixture_keeps_type_and_gradient():
    z = draw(8, 4, 1, 3, 5).float().requires_grad_()
    mixed = easiest_mixture(z, hot(9, 4, 1, classes=5).float())
    assert mixed.dtype == torch.float32
    (gradient,) = torch.autograd.grad(mixed.sum(), z)
    torch.testing.assert_close(gradient.sum(2), torch.ones(4, 1, 5))


def by_enumeration(errors):
    """Return the least wᵀ C w over all supports."""
    covariance = (errors.T @ errors / len(errors)).numpy()
    best, least = None, np.inf
    for size in range(1, len(covariance) + 1):
        for support in itertools.combinations(range(len(covariance)), size):
            w = np.zeros(len(covariance))
            inverse = np.linalg.solve(covariance[np.ix_(support, support)], np.ones(size))
            w[list(support)] = inverse / inverse.sum()
            value = w @ covariance @ w
            if (w >= -1e-12).all() and value < least:
                best, least = w, value
    return best


@pytest.mark.parametrize("students", [1, 2, 3, 6])
@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_general_weights_against_all_supports(students, strength):
    for seed in range(5):
        logits = draw(seed, 200, students) + strength * torch.arange(students)
        errors = logits.sigmoid() - 1
        torch.testing.assert_close(general_weights(errors), torch.from_numpy(by_enumeration(errors)), rtol=0, atol=1e-3)
        assert (general_weights(errors) >= 0).all()
        assert general_weights(errors).sum() == pytest.approx(1, abs=1e-12)


def test_the_examples_of_the_card():
    unequal = torch.tensor([[0.9, 0.5], [0.9, 0.3]]).double() - 1
    assert closed_form_weights(unequal).tolist() == pytest.approx([1.192308, -0.192308], abs=1e-6)
    assert general_weights(unequal).tolist() == pytest.approx([1, 0], abs=1e-9)
    alike = torch.tensor([[0.9, 0.3], [0.2, 0.8]]).double() - 1
    for weigh in (general_weights, closed_form_weights):
        assert weigh(alike).tolist() == pytest.approx([0.416667, 0.583333], abs=1e-5)


@pytest.mark.parametrize("weigh", [general_weights, closed_form_weights])
def test_students_that_err_alike_share_alike(weigh):
    one = draw(0, 50, 1).sigmoid() - 1
    for errors in (one.expand(50, 3), torch.zeros(50, 3)):
        assert weigh(errors).tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)


@pytest.mark.parametrize("weigh", [general_weights, closed_form_weights])
def test_errors_that_are_no_numbers_are_refused(weigh):
    for errors in (torch.tensor([[0.1, float("nan")]]), torch.zeros(0, 2)):
        with pytest.raises(LimbeckError, match="give at least one example, and no NaN or infinity"):
            weigh(errors)
