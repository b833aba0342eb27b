"""The equation and every target writer, against float64 loops written from the papers' formulas."""

import math

import pytest
import torch
from naive import SCALES, Fixed, batch, cross_entropy, draw, one_hot, softmax

from limbeck.core import Clock, Mix, Objective, Output, Peers, Target, Units, imitation
from limbeck.targets import PSKD, CrossEntropy, Hinton, LabelSmoothing
from limbeck.tasks import Classification


@pytest.mark.parametrize("scale", SCALES)
def test_imitation_is_the_weighted_sum_of_tempered_cross_entropies(scale):
    logits, labels = draw(0, 5, 4, scale), torch.tensor([0, 3, 1, 1, 2])
    first, second = (draw(seed, 5, 4, 1.0).softmax(1) for seed in (1, 2))
    targets = [
        Target("label", None, 0.3),
        Target("first", first, 0.2),
        Target("second", second, 0.5, 4.0),
        Target("label, tempered", None, 0.7, 4.0),
    ]
    found = imitation(Units(logits, labels, torch.arange(5)), targets)
    expected = 0.0
    for i, row in enumerate(logits.tolist()):
        hot = one_hot(int(labels[i]), 4)
        expected += 0.3 * cross_entropy(hot, row) + 0.2 * cross_entropy(first[i].tolist(), row)
        expected += 16 * (0.5 * cross_entropy(second[i].tolist(), row, 4.0) + 0.7 * cross_entropy(hot, row, 4.0))
    assert found.total.item() == pytest.approx(expected, rel=1e-12)


def test_logged_parts_are_divergences_so_that_zero_is_perfect_imitation():
    logits = draw(0, 6, 3, 2.0)
    units = Units(logits, torch.zeros(6, dtype=torch.long), torch.arange(6))
    same = imitation(units, [Target("self", (logits / 3).softmax(1), 1.0, 3.0)])
    assert same.parts["self"].item() == pytest.approx(0.0, abs=1e-12)
    assert same.total.item() > 1.0


def test_one_shared_distribution_broadcasts_over_the_units():
    units = Units(draw(0, 6, 3, 2.0), torch.zeros(6, dtype=torch.long), torch.arange(6))
    shared = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    one, many = (imitation(units, [Target("t", q)]) for q in (shared, shared.expand(6, 3)))
    assert one.total == many.total
    assert one.parts["t"] == many.parts["t"]


def test_half_precision_logits_are_raised_to_float32():
    units = Units(draw(0, 6, 3, 2.0).half(), torch.zeros(6, dtype=torch.long), torch.arange(6))
    assert imitation(units, [Target("label")]).total.dtype == torch.float32


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_label_smoothing(scale, epsilon):
    logits, labels = draw(0, 5, 4, scale), [0, 3, 1, 1, 2]
    objective = Objective(Peers([Fixed(logits)]), LabelSmoothing(epsilon), Classification())
    loss = objective(batch(labels), Clock(0, 1)).loss
    expected = sum(
        cross_entropy([(1 - epsilon) * h + epsilon / 4 for h in one_hot(label, 4)], row)
        for label, row in zip(labels, logits.tolist(), strict=True)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    library = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), label_smoothing=epsilon, reduction="sum")
    assert loss.item() == pytest.approx(library.item(), rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("alpha", "temperature"), [(0.9, 4.0), (0.5, 1.0), (1.0, 20.0)])
def test_kd(scale, alpha, temperature):
    logits, taught, labels = draw(0, 5, 4, scale), draw(1, 5, 4, scale), [0, 3, 1, 1, 2]
    objective = Objective(
        Peers([Fixed(logits)]), Hinton(alpha, temperature), Classification(), teacher=lambda view: Output(taught)
    )
    loss = objective(batch(labels), Clock(0, 1)).loss
    expected = 0.0
    for row, teacher, label in zip(logits.tolist(), taught.tolist(), labels, strict=True):
        expected += (1 - alpha) * cross_entropy(one_hot(label, 4), row)
        expected += alpha * temperature**2 * cross_entropy(softmax(teacher, temperature), row, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # the teacher's softmax is taken in float32


@pytest.mark.parametrize("scale", SCALES)
def test_pskd_over_three_epochs(scale):
    """L_t = H((1 - a_t) y + a_t P_{t-1}, P_t), a_t = a_T t / T with t from 1; the first epoch has the label for P_0."""
    labels, epochs, final = [0, 3, 1, 1, 2], 3, 0.8
    net = Fixed(draw(0, 5, 4, scale))
    objective = Objective(Peers([net]), PSKD(final), Classification(), examples=5)
    past = [one_hot(label, 4) for label in labels]
    for epoch in range(epochs):
        net.logits.data = draw(epoch, 5, 4, scale)
        step = objective(batch(labels), Clock(epoch, epochs))
        rows, alpha = net.logits.tolist(), final * (epoch + 1) / epochs
        expected = sum(
            cross_entropy([(1 - alpha) * h + alpha * p for h, p in zip(one_hot(label, 4), before, strict=True)], row)
            for label, before, row in zip(labels, past, rows, strict=True)
        )
        assert step.loss.item() == pytest.approx(expected, rel=1e-6)
        objective.after(step)
        objective.after_epoch()
        past = [softmax(row) for row in rows]
    rows = objective.writer._past.banks[0].recall(torch.arange(5), torch.zeros(5, 4))
    soft = (1 - alpha) * torch.nn.functional.one_hot(torch.tensor(labels), 4) + alpha * rows
    assert not soft.requires_grad
    assert torch.allclose(soft.sum(1), torch.ones(5, dtype=soft.dtype))


def test_pskd_mixes_the_two_rows_as_the_labels_are_mixed_and_records_mostly_own_images():
    net = Fixed(draw(0, 4, 3, 1.0))
    objective = Objective(Peers([net]), PSKD(1.0), Classification(), examples=4)
    first = objective(batch([0, 1, 2, 0]), Clock(0, 2))
    objective.after(first)
    objective.after_epoch()
    rows = [softmax(row) for row in net.logits.tolist()]

    net.logits.data = draw(5, 4, 3, 1.0)
    partners, shares = [3, 2, 1, 0], [1.0, 0.75, 0.5, 0.25]
    mix = Mix(torch.tensor(partners), torch.tensor([0, 2, 1, 0]), torch.tensor(shares))
    step = objective(batch([0, 1, 2, 0], mix), Clock(1, 2))
    expected = 0.0
    for i, row in enumerate(net.logits.tolist()):
        both = zip(rows[i], rows[partners[i]], strict=True)
        mixed = [shares[i] * own + (1 - shares[i]) * other for own, other in both]
        expected += cross_entropy(mixed, row)
    assert step.loss.item() == pytest.approx(expected, rel=1e-6)

    objective.after(step)
    objective.after_epoch()
    now = [softmax(row) for row in net.logits.tolist()]
    recorded = objective.writer._past.banks[0].recall(torch.arange(4), torch.zeros(4, 3))
    for i, share in enumerate(shares):
        assert recorded[i].tolist() == pytest.approx(now[i] if share >= 0.5 else rows[i], rel=1e-6)


def test_mixed_labels_count_by_their_shares():
    net = Fixed(draw(0, 2, 3, 1.0))
    mix = Mix(torch.tensor([1, 0]), torch.tensor([2, 0]), torch.tensor([0.7, 0.4]))
    step = Objective(Peers([net]), CrossEntropy(), Classification())(batch([0, 2], mix), Clock(0, 1))
    rows = net.logits.tolist()
    expected = cross_entropy([0.7, 0.0, 0.3], rows[0]) + cross_entropy([0.6, 0.0, 0.4], rows[1])
    entropy = -sum(q * math.log(q) for q in (0.7, 0.3, 0.6, 0.4))
    assert step.loss.item() == pytest.approx(expected, rel=1e-6)
    assert step.parts["label"].item() == pytest.approx(expected - entropy, rel=1e-5)
