"""KDCL's whole loss, against float64 loops written from the paper's formulas."""

import pytest
import torch
from naive import SCALES, Fixed, batch, cross_entropy, draw, one_hot, softmax

from limbeck.core import Clock, Mix, Objective, Peers, Units
from limbeck.targets import KDCL
from limbeck.tasks import Classification

LABELS, CLASSES, STUDENTS = [0, 3, 1, 1, 2], 4, 2
PARTNERS, SHARES = [3, 0, 2, 0, 2], [1.0, 0.75, 0.5, 0.25, 0.0]


def combined(rows, weights):
    return [sum(w * row[k] for w, row in zip(weights, rows, strict=True)) for k in range(CLASSES)]


def slope(a, rows, q):
    """Return the derivative of CE(a z_1 + (1 - a) z_2, q) by a."""
    p = softmax(combined(rows, [a, 1 - a]))
    return sum((p[k] - q[k]) * (rows[0][k] - rows[1][k]) for k in range(CLASSES))


def easiest(rows, q):
    """Return the root of the slope, by bisection, or the end that it points to."""
    if slope(0.0, rows, q) >= 0:
        return 0.0
    if slope(1.0, rows, q) <= 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle, rows, q) < 0 else (low, middle)
    return (low + high) / 2


def target(ensemble, rows, q, temperature):
    if ensemble == "naive":
        losses = [cross_entropy(q, row) for row in rows]
        return softmax(rows[losses.index(min(losses))], temperature)
    if ensemble == "linear":
        a = easiest(rows, q)
        return softmax(combined(rows, [a, 1 - a]), temperature)
    if ensemble == "minlogit":
        shifted = [[value - sum(a * b for a, b in zip(q, row, strict=True)) for value in row] for row in rows]
        return softmax([min(row[k] for row in shifted) for k in range(CLASSES)], temperature)
    return combined([softmax(row, temperature) for row in rows], [0.5, 0.5])


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("ensemble", ["naive", "linear", "minlogit", "general"])
def test_the_loss_of_kdcl(ensemble, scale, mixed):
    logits, weight, temperature = draw(0, 5 * STUDENTS, CLASSES, scale).reshape(STUDENTS, 5, CLASSES), 0.7, 3.0
    mix = Mix(torch.arange(5), torch.tensor(PARTNERS), torch.tensor(SHARES)) if mixed else None
    cohort = Peers([Fixed(one) for one in logits])
    writer = KDCL(ensemble, weight, temperature, views="shared")
    loss = Objective(cohort, writer, Classification())(batch(LABELS, mix), Clock(0, 1)).loss
    expected = 0.0
    for i, label in enumerate(LABELS):
        share = SHARES[i] if mixed else 1.0
        both = zip(one_hot(label, CLASSES), one_hot(PARTNERS[i], CLASSES), strict=True)
        q = [share * own + (1 - share) * other for own, other in both]
        rows = logits[:, i].tolist()
        taught = target(ensemble, rows, q, temperature)
        for row in rows:
            expected += cross_entropy(q, row) + weight * temperature**2 * cross_entropy(taught, row, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("seed", "inside"), [(0, True), (1, False), (3, False), (5, True)])
def test_general_weighs_two_students_by_equation_11_cut_to_the_simplex(seed, inside):
    answers, labels = draw(seed, 40, CLASSES, 1.0).reshape(2, 20, CLASSES), [i % CLASSES for i in range(20)]
    writer = KDCL("general")
    writer.examine([Units(one, torch.tensor(labels), torch.arange(20)) for one in answers])
    errors = [[softmax(row)[label] - 1 for row, label in zip(one.tolist(), labels, strict=True)] for one in answers]
    c = [[sum(a * b for a, b in zip(left, right, strict=True)) / 20 for right in errors] for left in errors]
    first = (c[1][1] - c[0][1]) / (c[0][0] + c[1][1] - 2 * c[0][1])
    assert (0 < first < 1) == inside
    literal = KDCL("general", weights="closed-form")
    literal.examine([Units(one, torch.tensor(labels), torch.arange(20)) for one in answers])
    assert literal.shares == pytest.approx([first, 1 - first], abs=1e-9)
    first = min(max(first, 0.0), 1.0)
    assert writer.shares == pytest.approx([first, 1 - first], abs=1e-5)
