"""ONE against float64 loops written from its paper: the gate, the ensemble, and the loss."""

import math

import pytest
import torch
from naive import SCALES, Fixed, batch, cross_entropy, draw, one_hot, softmax

from limbeck.core import Clock, Mix, Objective
from limbeck.core.branches import Branches
from limbeck.core.cohort import Peers
from limbeck.models import ModelSpec
from limbeck.targets import ONE
from limbeck.tasks import Classification
from limbeck.teachers.students import build_students


def ramp(epoch, epochs):
    return math.exp(-5 * (1 - epoch / epochs) ** 2) if epoch < epochs else 1.0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("epoch", [0, 3, 8, 11])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss(scale, epoch, mixed):
    """The last network stands for the ensemble: its logits are given here."""
    rows, labels, others = draw(0, 15, 4, scale), [0, 3, 1, 1, 2], [1, 1, 0, 2, 2]
    share = [0.3, 1.0, 0.0, 0.5, 0.7] if mixed else [1.0] * 5
    mix = Mix(torch.arange(5), torch.tensor(others), torch.tensor(share, dtype=torch.float64)) if mixed else None
    branches = rows.split(5)
    cohort = Peers([Fixed(logits.clone()) for logits in branches])
    method = ONE(branches=2, temperature=3.0, weight={"name": "ramp_up", "value": 1.0, "epochs": 8})
    step = Objective(cohort, method, Classification())(batch(labels, mix), Clock(epoch, 12))

    first, second, ensemble = (logits.tolist() for logits in branches)
    expected = logged = 0.0
    for i in range(5):
        own, other = one_hot(labels[i], 4), one_hot(others[i], 4)
        label = [share[i] * a + (1 - share[i]) * b for a, b in zip(own, other, strict=True)]
        expected += cross_entropy(label, ensemble[i])
        target = softmax(ensemble[i], 3.0)
        for branch in (first, second):
            expected += cross_entropy(label, branch[i])
            expected += ramp(epoch, 8) * 9 * cross_entropy(target, branch[i], 3.0)
        logged += cross_entropy(target, first[i], 3.0) + sum(q * math.log(q) for q in target if q > 0)
    assert step.loss.item() == pytest.approx(expected, rel=1e-6)
    assert step.parts["ensemble/0"].item() == pytest.approx(logged, rel=1e-4, abs=1e-4)
    assert "ensemble/2" not in step.parts


def test_the_ensembles_teaching_does_not_reach_the_ensemble():
    """Its own gradient is that of the label alone."""
    branches = [Fixed(logits.clone()) for logits in draw(1, 15, 4, 2.0).split(5)]
    labels = [0, 3, 1, 1, 2]
    Objective(Peers(branches), ONE(branches=2, weight=1.0), Classification())(
        batch(labels), Clock(0, 1)
    ).loss.backward()
    for row, gradient, label in zip(branches[2].logits.tolist(), branches[2].logits.grad.tolist(), labels, strict=True):
        expected = [p - y for p, y in zip(softmax(row), one_hot(label, 4), strict=True)]
        assert gradient == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_the_gate_and_the_ensemble(training):
    networks = [network.double() for network in build_students([ModelSpec("resnet8")] * 3, 4, 1, 0)]
    cohort = Branches(networks, "layer3").train(training)
    linear, norm = cohort.gate[0], cohort.gate[1]
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    mean, variance = norm.running_mean.tolist(), norm.running_var.tolist()
    view = torch.randn(5, 1, 8, 8, generator=generator, dtype=torch.float64)
    seen = []
    cohort.students[0].layer3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].tolist()))
    *branches, ensemble = (output.logits.tolist() for output in cohort((view,)))

    features = [[sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in image] for image in seen[0]]
    scores = [
        [sum(w * x for w, x in zip(row, image, strict=True)) + bias for row, bias in zip(*line(linear), strict=True)]
        for image in features
    ]
    if training:
        mean = [sum(image[i] for image in scores) / 5 for i in range(3)]
        variance = [sum((image[i] - mean[i]) ** 2 for image in scores) / 5 for i in range(3)]
    scale, shift = line(norm)
    for u, image in enumerate(scores):
        normed = [scale[i] * (image[i] - mean[i]) / math.sqrt(variance[i] + norm.eps) + shift[i] for i in range(3)]
        gate = softmax([max(value, 0.0) for value in normed])
        expected = [sum(gate[i] * branches[i][u][k] for i in range(3)) for k in range(4)]
        assert ensemble[u] == pytest.approx(expected, rel=1e-9)


def line(layer):
    return layer.weight.tolist(), layer.bias.tolist()


@pytest.mark.parametrize("weight", [0.0, {"name": "until", "value": 1.0, "epoch": 0}])
def test_at_weight_zero_it_is_the_labels_cross_entropy_of_each(weight):
    logits, labels = draw(3, 15, 4, 3.0), [0, 3, 1, 1, 2]
    cohort = Peers([Fixed(rows.clone()) for rows in logits.split(5)])
    loss = Objective(cohort, ONE(branches=2, weight=weight), Classification())(batch(labels), Clock(0, 4)).loss
    rows = logits.tolist()
    expected = sum(cross_entropy(one_hot(labels[i % 5], 4), row) for i, row in enumerate(rows))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_settings_that_mean_nothing_are_refused():
    for fields in ({"branches": 1}, {"weight": -1.0}, {"temperature": 0.0}, {"weight": "0.5"}):
        with pytest.raises(ValueError, match=next(iter(fields))):
            ONE(**fields)
    assert ONE(branches=4).needs.copies == 4
    assert ONE().needs.copies == 3
