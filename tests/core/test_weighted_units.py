"""Units that count as parts of an example: loss, logged figures and gradients against plain float64 loops."""

import math

import pytest
import torch
from torch import nn

from limbeck.core import Batch, Clock, Mix, Objective, Output, Peers, Target, Units, imitation
from limbeck.core.chunks import pieces
from limbeck.core.writer import Step
from limbeck.targets import CrossEntropy, LabelSmoothing
from limbeck.tasks import Classification
from limbeck.train.record import Sums
from limbeck.train.runtime import Runtime

SCALES = [1.0, 1e4]  # ordinary and extreme logits
LABELS, PARTNERS = [0, 3, 1, 1, 2], [2, 3, 0, 1, 1]
WEIGHT = [0.5, 0.25, 0.25, 0.0, 3.0]
SHARES = [1.0, 0.7, 0.5, 0.25, 0.0]


def drawn(seed, scale, rows=5):
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def log_softmax(row, temperature=1.0):
    top = max(row)
    norm = math.log(math.fsum(math.exp((value - top) / temperature) for value in row))
    return [(value - top) / temperature - norm for value in row]


def entropy(q):
    return -math.fsum(value * math.log(value) for value in q if value > 0)


def labelled(i, mixed):
    """The distribution that a unit's label stands for."""
    own, other = LABELS[i], PARTNERS[i]
    share = SHARES[i] if mixed else 1.0
    return [share * (k == own) + (1 - share) * (k == other) for k in range(4)]


def units_of(logits, weight=WEIGHT, mixed=False):
    mix = Mix(torch.arange(5), torch.tensor(PARTNERS), torch.tensor(SHARES)) if mixed else None
    given = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    return Units(logits, torch.tensor(LABELS), torch.tensor([0, 0, 1, 1, 2]), mix, given)


def targets_of(first, second):
    """Labels, and soft targets at two temperatures."""
    return [
        Target("label", None, 0.3),
        Target("first", first, 0.2),
        Target("second", second, 0.5, 4.0),
        Target("label, tempered", None, 0.7, 4.0),
        Target("shared", first[:1], 0.1),
        Target("silent", second, 0.0),
    ]


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "mixed labels"])
@pytest.mark.parametrize("scale", SCALES)
def test_each_unit_counts_as_much_as_it_weighs(scale, mixed):
    logits = drawn(0, scale).requires_grad_()
    first, second = drawn(1, 1.0).softmax(1), drawn(2, scale).softmax(1)
    targets = targets_of(first, second)
    found = imitation(units_of(logits, mixed=mixed), targets)
    found.total.backward()
    total, parts, gradient = 0.0, {target.name: 0.0 for target in targets}, [[0.0] * 4 for _ in LABELS]
    for i, row in enumerate(logits.tolist()):
        soft = {"first": first[i], "second": second[i], "shared": first[0], "silent": second[i]}
        for name, _, weight, temperature in targets:
            q = soft[name].tolist() if name in soft else labelled(i, mixed)
            log_p = log_softmax(row, temperature)
            cost = -math.fsum(a * b for a, b in zip(q, log_p, strict=True))
            total += WEIGHT[i] * weight * temperature**2 * cost
            parts[name] += WEIGHT[i] * (cost - entropy(q))
            for k in range(4):
                gradient[i][k] += WEIGHT[i] * weight * temperature * (math.exp(log_p[k]) - q[k])
    # shares of mixed labels are float32
    close = {"rel": 1e-6, "abs": 1e-9} if mixed else {"rel": 1e-12, "abs": 1e-12}
    assert found.total.item() == pytest.approx(total, **close)
    assert {name: part.item() for name, part in found.parts.items()} == pytest.approx(parts, **close)
    for row, expected in zip(logits.grad.tolist(), gradient, strict=True):
        assert row == pytest.approx(expected, **close)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("scale", SCALES)
def test_of_a_target_that_carries_a_gradient_the_divergence_is_summed(scale, temperature):
    logits, theirs = drawn(0, scale).requires_grad_(), drawn(1, scale).requires_grad_()
    q = (theirs / temperature).softmax(1)
    found = imitation(units_of(logits), [Target("moving", q, 0.6, temperature)])
    found.total.backward()
    total, ours, gradient = 0.0, [], []
    for i, (row, other) in enumerate(zip(logits.tolist(), theirs.tolist(), strict=True)):
        log_p, log_q = log_softmax(row, temperature), log_softmax(other, temperature)
        said = [math.exp(value) for value in log_q]
        kl = math.fsum(a * (b - c) for a, b, c in zip(said, log_q, log_p, strict=True) if a > 0)
        total += WEIGHT[i] * kl
        step = 0.6 * WEIGHT[i] * temperature
        ours.append([step * (math.exp(b) - a) for a, b in zip(said, log_p, strict=True)])
        gradient.append([step * a * (b - c - kl) for a, b, c in zip(said, log_q, log_p, strict=True)])
    assert found.total.item() == pytest.approx(0.6 * temperature**2 * total, rel=1e-10)
    assert found.parts["moving"].item() == pytest.approx(total, rel=1e-10)
    for tensor, expected in ((logits, ours), (theirs, gradient)):
        for row, values in zip(tensor.grad.tolist(), expected, strict=True):
            assert row == pytest.approx(values, rel=1e-9, abs=1e-9 * scale)


@pytest.mark.parametrize("mixed", [False, True], ids=["labels", "mixed labels"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_weight_of_one_each_is_no_weight(scale, mixed):
    found = []
    for weight in (None, [1.0] * 5):
        logits, theirs = drawn(0, scale).requires_grad_(), drawn(3, 1.0).requires_grad_()
        targets = targets_of(drawn(1, 1.0).softmax(1), drawn(2, scale).softmax(1))
        losses = imitation(units_of(logits, weight, mixed), [*targets, Target("moving", theirs.softmax(1))])
        losses.total.backward()
        values = torch.stack([losses.total.detach(), *losses.parts.values()])
        found.append(torch.cat([values, logits.grad.flatten(), theirs.grad.flatten()]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_half_precision_weights_do_not_lower_the_losses_precision():
    losses = imitation(units_of(drawn(0, 1.0).half()), [Target("label")])
    assert losses.total.dtype == torch.float32


class Chosen(nn.Module):
    """Says what it is told to of several things in each image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, view):
        return Output(self.logits[: 2 * len(view)])


class Things(Classification):
    """Two units of each image, which count as one together."""

    def units(self, output, batch):
        ids = batch.ids.repeat_interleave(2)
        weight = torch.tensor([0.75, 0.25] * len(batch.ids), dtype=torch.float64)
        return Units(output.logits, batch.labels.repeat_interleave(2), ids, None, weight)


def batch_of(count):
    return Batch(torch.arange(count), (torch.zeros(count, 1, 1, 1),), torch.arange(count) % 4)


def test_sums_are_divided_by_examples_where_their_units_are_weighted():
    objective = Objective(Peers([Chosen(drawn(0, 1.0, 6))]), LabelSmoothing(0.1), Things())
    step = objective(batch_of(3), Clock(0, 1))
    assert step.units == 3
    plain = Objective(Peers([Chosen(drawn(0, 1.0, 6))]), LabelSmoothing(0.1), Classification())
    assert plain(batch_of(6)._replace(views=(torch.zeros(3, 1, 1, 1),)), Clock(0, 1)).units == 6


def test_the_logs_error_is_the_mean_over_examples_of_their_shares():
    logits = torch.full((6, 4), -1.0, dtype=torch.float64)
    # of the first image the lighter unit is wrong, of the second the heavier one, of the third both
    for row, said in enumerate([0, 1, 3, 1, 0, 0]):
        logits[row, said] = 1.0
    objective = Objective(Peers([Chosen(logits)]), CrossEntropy(), Things())
    sums, runtime = Sums(), Runtime("cpu", 1, 1)
    sums.add(objective(batch_of(3), Clock(0, 1)))
    sums.check(runtime)
    assert sums.means(runtime)["error"] == pytest.approx((0.25 + 0.75 + 1) / 3)


class Many(Things):
    """Units that count more than their image, as SSD's do: for each thing three others."""

    def units(self, output, batch):
        found = super().units(output, batch)
        return found._replace(weight=4 * found.weight)


def test_the_logs_error_is_a_share_whatever_the_units_weigh():
    logits = torch.zeros(6, 4, dtype=torch.float64)
    logits[:, 3] = 1.0
    objective = Objective(Peers([Chosen(logits)]), CrossEntropy(), Many())
    sums, runtime = Sums(), Runtime("cpu", 1, 1)
    step = objective(batch_of(3), Clock(0, 1))
    sums.add(step)
    sums.check(runtime)
    assert sums.means(runtime)["error"] == pytest.approx(1.0)
    assert sums.means(runtime)["loss"] == pytest.approx(float(step.loss.detach()) / 3)


class Sometimes(Things):
    """Has units in some batches only."""

    def units(self, output, batch):
        found = super().units(output, batch)
        return found if int(batch.ids[0]) == 0 else found.rows(slice(0, 0))


def test_a_batch_without_units_leaves_the_logs_sums_whole():
    objective = Objective(Peers([Chosen(drawn(0, 1.0, 6))]), CrossEntropy(), Sometimes())
    sums, runtime = Sums(), Runtime("cpu", 1, 1)
    for ids in (torch.arange(3), torch.arange(3, 6)):
        sums.add(objective(batch_of(3)._replace(ids=ids), Clock(0, 1)))
    sums.check(runtime)
    assert sums.means(runtime)["loss"] > 0


def test_weighted_units_in_chunks_are_all_there():
    students = [Units(drawn(0, 1.0, 6), torch.zeros(6, dtype=torch.int64), torch.arange(6), None, torch.rand(6))]
    step = Step(batch_of(3), Clock(0, 1), students, None)
    cut = [piece.students[0] for piece in pieces(step, 4)]
    assert [len(one.logits) for one in cut] == [4, 2]
    assert torch.equal(torch.cat([one.weight for one in cut]), students[0].weight)
