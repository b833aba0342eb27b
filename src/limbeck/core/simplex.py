"""Weights on the simplex, w_i ≥ 0 and Σ w_i = 1: solvers in float64 for a handful of weights.

least_cross_entropy    min_w  CE(Σ_i w_i z_i, y), many problems at once, on the device
easiest_mixture        Σ_i w_i z_i with these weights
general_weights        min_w  wᵀ C w,  C = EᵀE / N
closed_form_weights    the same without w_i ≥ 0
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limbeck.errors import LimbeckError

# Added to C's diagonal, times its mean: students that answer alike then share alike, and what it costs is below notice.
RIDGE = 1e-6
# Below this, relative to the mean diagonal, C's least eigenvalue is rounding, and it has no inverse.
SINGULAR = 1e-10

# of the interior-point method: logits up to 1e4 take 35 steps, ordinary ones half as many
_STEPS = 60
_END = 1e-12  # of the products that go to zero; the gap is (students + classes) times this
_CHUNK = 1 << 17  # numbers of a problem that fit a processor's cache: beyond it every pass waits for the memory


def easiest_mixture(
    logits: Float[Tensor, "groups samples students classes"], labels: Float[Tensor, "groups samples classes"]
) -> Float[Tensor, "groups samples classes"]:
    """Return Σ_i w_i z_i with the weights of `least_cross_entropy`: they carry no gradient, the logits do.

    Args:
        logits: z_i, finite.
        labels: distributions over the classes.
    """
    # where there is no float64 the CPU does it
    place = "cpu" if logits.device.type == "mps" else logits.device
    exact = logits.to(place, torch.float64)
    weights = least_cross_entropy(exact, labels.to(place, torch.float64))
    mixed: Tensor = (weights[:, None, None] @ exact)[:, :, 0]
    return mixed.to(logits.dtype).to(logits.device)


@torch.no_grad()
def least_cross_entropy(
    logits: Float64[Tensor, "groups samples students classes"], labels: Float64[Tensor, "groups samples classes"]
) -> Float64[Tensor, "groups students"]:
    """Return the weights whose combined logits have the least mean cross-entropy over a group's samples.

    With d = z - <q, z> (q the label) the problem and its dual are, for one sample,

        min_w log Σ_k exp <w, d_k>  =  max_p  H(p) + min_i <p, d_i>,   at the optimum p = softmax(<w, d>)

    They are solved together by an interior-point method: w, the slacks of the minimum, p and its multipliers are kept
    positive, and Newton steps drive their products to zero. With p a variable of its own the steps stay long where the
    optimum is a kink, as it is when logits are extreme. A step solves as many linear equations as there are students.

    The gap Σ_i w_i (g_i - min g), g = ∂CE/∂w, by which the result may miss the least value, stays below 1e-6 for logits
    up to ±1e4. Nothing waits for a device: there the number of steps is fixed; a CPU stops when it has converged.

    Args:
        logits: z_i, finite.
        labels: distributions over the classes, one-hot or not.
    """
    centred = logits - (logits * labels[:, :, None]).sum(-1, keepdim=True)
    if centred.device.type != "cpu":
        return _interior_point(centred)
    groups = max(1, _CHUNK // centred[0].numel())
    return torch.cat([_interior_point(chunk) for chunk in torch.split(centred, groups)])


def _interior_point(d: Float64[Tensor, "groups samples students classes"]) -> Float64[Tensor, "groups students"]:
    groups, samples, students, classes = d.shape
    spread = (d.amax((1, 2, 3)) - d.amin((1, 2, 3))).clamp_min(1.0)
    w = d.new_full((groups, students), 1 / students)
    p = d.new_full((groups, samples, classes), 1 / classes)
    # multipliers of w ≥ 0, of p ≥ 0 and of Σ p = 1
    u, v = spread[:, None].expand_as(w), spread[:, None, None].expand_as(p)
    level = d.new_zeros(groups, samples, 1)
    step = d.new_full((groups,), 0.7)
    for _ in range(_STEPS):
        product = ((w * u).sum(1) + (p * v).sum((1, 2)) / samples) / (students + classes)
        # after a long step aim far, after a short one go back to the middle
        goal = (product * ((1 - step) ** 2).clamp(0.01, 0.5)).clamp_min(_END)
        # the change of p: scale · (<dw, d> - its mean + shift), with the equations of v and level put in
        scale = p / (1 + v)
        total = scale.sum(-1, keepdim=True)
        mean = (d @ scale[..., None]) / total[..., None]
        around = d - mean
        shift = goal[:, None, None] / p - p.log() - level + (w[:, None, None] @ d)[:, :, 0]
        average = ((scale * shift).sum(-1, keepdim=True) + p.sum(-1, keepdim=True) - 1) / total
        shift = shift - average
        # the change of w, for which nothing else is left
        scaled = around * scale[:, :, None]
        gradient = d @ p[..., None] + scaled @ shift[..., None] + mean * (1 - p.sum(-1))[..., None, None]
        dw = _newton((scaled @ around.mT).mean(1), u / w, goal[:, None] / w - gradient[..., 0].mean(1))
        dp = scale * ((dw[:, None, None] @ around)[:, :, 0] + shift)
        du, dv = (goal[:, None] - u * dw) / w - u, (goal[:, None, None] - v * dp) / p - v
        changes = ((w, dw), (u, du), (p, dp), (v, dv))
        step = torch.stack([_longest(x.flatten(1), dx.flatten(1)) for x, dx in changes]).amin(0)
        w, u = w + step[:, None] * dw, u + step[:, None] * du
        w = w / w.sum(1, keepdim=True)
        p, v = p + step[:, None, None] * dp, v + step[:, None, None] * dv
        level = level + step[:, None, None] * ((dw[:, None, None] @ mean)[:, :, 0] + average)
        if d.device.type == "cpu" and bool(((product < 2 * _END) & (step > 0.9)).all()):
            break
    return w


def _newton(
    curvature: Float64[Tensor, "groups students students"],
    diagonal: Float64[Tensor, "groups students"],
    right: Float64[Tensor, "groups students"],
) -> Float64[Tensor, "groups students"]:
    """Solve (curvature + diagonal) x = right + a constant, where the constant makes Σ x = 0."""
    largest = curvature.diagonal(dim1=1, dim2=2).amax(1)[:, None]
    # a constant in every entry changes no x that sums to 0, and keeps what is left well-conditioned beside a kink
    matrix = curvature + torch.diag_embed(diagonal + 1e-14 * largest) + largest[..., None]
    unit = matrix.diagonal(dim1=1, dim2=2).rsqrt()[..., None]
    sides = torch.stack([right, torch.ones_like(right)], -1)
    solved, _ = torch.linalg.solve_ex(unit * matrix * unit.mT, unit * sides)
    x, one = (unit * solved).unbind(-1)
    balanced: Tensor = x - (x.sum(1) / one.sum(1))[:, None] * one
    return balanced


def _longest(x: Float64[Tensor, "groups entries"], dx: Float64[Tensor, "groups entries"]) -> Float64[Tensor, " groups"]:
    """Return the longest step, up to 1, that keeps a hundredth of every entry."""
    shrinking: Tensor = (-dx / x).amax(1)
    return 0.99 * shrinking.clamp_min(0.99).reciprocal()


def general_weights(errors: Float[Tensor, "examples students"]) -> Float64[Tensor, " students"]:
    """Return the weights on the simplex whose mixture has the least mean squared error, wᵀ C w with C = EᵀE / N.

    Students that err alike share alike, and so do all where nobody errs: C's diagonal gets a ridge of 1e-6 of its mean.

    Args:
        errors: of each student on each example, f(x) - 1 for the probability f of the true class.

    Raises:
        LimbeckError: there are no errors, or one is NaN or infinite.
    """
    from scipy.optimize import nnls

    ridged = _with_ridge(_covariance(errors))
    # the minimiser of |root w|² + (Σ w - 1)² over w ≥ 0 has the direction that is looked for
    values, vectors = torch.linalg.eigh(ridged)
    root = values.clamp_min(0).sqrt()[:, None] * vectors.mT
    students = len(ridged)
    solution, _ = nnls(torch.cat([root, root.new_ones(1, students)]).numpy(), [0.0] * students + [1.0])
    weights: Tensor = torch.from_numpy(solution)
    return weights / weights.sum()


def closed_form_weights(errors: Float[Tensor, "examples students"]) -> Float64[Tensor, " students"]:
    """Return Eq. 11 of KDCL as it stands, C⁻¹ 1 / (1ᵀ C⁻¹ 1), which sums to 1 and may be negative.

    Only a singular C gets the ridge of `general_weights`.

    Args:
        errors: as for `general_weights`.

    Raises:
        LimbeckError: there are no errors, or one is NaN or infinite.
    """
    covariance = _covariance(errors)
    if torch.linalg.eigvalsh(covariance)[0] < SINGULAR:
        covariance = _with_ridge(covariance)
    weights: Tensor = torch.linalg.solve(covariance, covariance.new_ones(len(covariance)))
    return weights / weights.sum()


def _covariance(errors: Float[Tensor, "examples students"]) -> Float64[Tensor, "students students"]:
    """Return C over its mean diagonal, on the CPU."""
    exact = errors.detach().cpu().double()
    if not (exact.numel() and exact.isfinite().all()):
        raise LimbeckError("students are weighed by their errors: give at least one example, and no NaN or infinity")
    covariance = exact.mT @ exact
    mean = covariance.trace() / len(covariance)
    return covariance / mean if mean > 0 else covariance


def _with_ridge(covariance: Float64[Tensor, "students students"]) -> Float64[Tensor, "students students"]:
    return covariance + RIDGE * torch.eye(len(covariance), dtype=covariance.dtype)
