"""Tf-KD in both readings, CS-KD and label smoothing in both conventions, against loops written from the papers."""

import math

import pytest
import torch
from naive import SCALES, Fixed, batch, cross_entropy, draw, one_hot, softmax

from limbeck.core import Clock, Mix, Objective, Output, Peers
from limbeck.errors import LimbeckError
from limbeck.targets import CSKD, Hinton, LabelSmoothing, TfKDReg, TfKDSelf, virtual_teacher
from limbeck.tasks import Classification

LABELS = [0, 3, 1, 1, 2]
SHARES = [1.0, 0.75, 0.5, 0.25, 0.0]
PARTNERS = [3, 0, 2, 0, 2]
MIX = Mix(torch.arange(5).roll(1), torch.tensor(PARTNERS), torch.tensor(SHARES))


def loss(method, logits, labels=LABELS, mix=None, teacher=None):
    objective = Objective(Peers([Fixed(logits)]), method, Classification(), teacher)
    return objective(batch(labels, mix), Clock(0, 1)).loss


def virtual(label, classes, correct):
    return [correct if k == label else (1 - correct) / (classes - 1) for k in range(classes)]


def tempered(q, temperature):
    return softmax([math.log(value) for value in q], temperature)


@pytest.mark.parametrize("correct", [0.99, 0.3, 1.0])
def test_the_virtual_teacher(correct):
    found = virtual_teacher(torch.tensor(LABELS), 4, correct)
    assert found.shape == (5, 4)
    for row, label in zip(found.tolist(), LABELS, strict=True):
        assert row == pytest.approx(virtual(label, 4, correct), abs=1e-7)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("alpha", "temperature", "multiplier"), [(0.1, 20.0, 1.0), (0.95, 3.0, 2.0), (0.4, 1.0, 1.0)])
def test_tfkd_reg_as_in_the_paper(scale, alpha, temperature, multiplier):
    logits = draw(0, 5, 4, scale)
    expected = 0.0
    for row, label in zip(logits.tolist(), LABELS, strict=True):
        q = tempered(virtual(label, 4, 0.99), temperature)
        expected += (1 - alpha) * cross_entropy(one_hot(label, 4), row)
        expected += alpha * multiplier * temperature**2 * cross_entropy(q, row, temperature)
    found = loss(TfKDReg(alpha, temperature, multiplier=multiplier), logits)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("alpha", "temperature", "multiplier"), [(0.1, 20.0, 100.0), (0.95, 40.0, 1.0)])
def test_tfkd_reg_as_in_the_code(scale, alpha, temperature, multiplier):
    """softmax over probabilities / T, an untempered student, no T squared, a multiplier, a mean over classes too."""
    logits = draw(0, 5, 4, scale)
    expected = 0.0
    for row, label in zip(logits.tolist(), LABELS, strict=True):
        q = softmax(virtual(label, 4, 0.99), temperature)
        expected += (1 - alpha) * cross_entropy(one_hot(label, 4), row) + alpha * multiplier / 4 * cross_entropy(q, row)
    found = loss(TfKDReg(alpha, temperature, reading="code", multiplier=multiplier), logits)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_code_reading_with_the_settings_of_resnet18_is_label_smoothing(scale):
    """alpha 0.1, T 20 and multiplier 100 over 100 classes: the targets differ by 5e-5, loss and gradient by 1e-4."""
    labels = [label % 100 for label in range(0, 640, 5)]
    found = []
    for method in (TfKDReg(0.1, 20.0, reading="code", multiplier=100.0), LabelSmoothing(0.1)):
        logits = draw(3, len(labels), 100, scale).requires_grad_()
        net = Fixed(logits.detach())
        value = Objective(Peers([net]), method, Classification())(batch(labels), Clock(0, 1)).loss
        value.backward()
        found.append((value.item(), net.logits.grad))
    (ours, gradient), (smoothing, theirs) = found
    assert ours == pytest.approx(smoothing, rel=1e-4)
    assert (gradient - theirs).abs().max() < 1e-4
    assert (gradient - theirs).norm() / theirs.norm() < 1e-4
    assert not torch.equal(gradient, theirs)


def test_the_figures_that_the_card_of_tfkd_reg_states():
    """At 100 classes: what the code reading gives the true class, and the paper's."""
    says = virtual_teacher(torch.tensor([0]), 100, 0.99)[0]
    assert (says / 10).softmax(0)[:2].tolist() == pytest.approx([0.011029, 0.009990], abs=1e-6)
    assert (says / 20).softmax(0)[:2].tolist() == pytest.approx([0.010502, 0.009995], abs=1e-6)
    assert (says / 40).softmax(0)[:2].tolist() == pytest.approx([0.010248, 0.009997], abs=1e-6)
    assert (says.log() / 20).softmax(0)[:2].tolist() == pytest.approx([0.01574, 0.00994], abs=1e-5)
    for alpha, multiplier, label, smooth in [(0.1, 100.0, 0.9, 0.1), (0.1, 50.0, 0.9, 0.05), (0.95, 1.0, 0.05, 0.0095)]:
        logits = torch.zeros(2, 100, dtype=torch.float64)
        objective = Objective(
            Peers([Fixed(logits)]), TfKDReg(alpha, 20.0, reading="code", multiplier=multiplier), Classification()
        )
        targets = objective.writer.write(objective(batch([0, 1]), Clock(0, 1)))[0]
        assert [target.weight for target in targets] == pytest.approx([label, smooth])


@pytest.mark.parametrize("reading", ["paper", "code"])
def test_under_mixing_the_virtual_teachers_of_both_labels_are_mixed(reading):
    logits, temperature = draw(0, 5, 4, 1.0), 5.0
    make = tempered if reading == "paper" else softmax
    expected = 0.0
    for row, one, two, share in zip(logits.tolist(), LABELS, PARTNERS, SHARES, strict=True):
        pair = [(make(virtual(label, 4, 0.9), temperature), one_hot(label, 4)) for label in (one, two)]
        q, y = ([share * a + (1 - share) * b for a, b in zip(*both, strict=True)] for both in zip(*pair, strict=True))
        if reading == "paper":
            virtual_term = 0.3 * temperature**2 * cross_entropy(q, row, temperature)
        else:
            virtual_term = 0.3 / 4 * cross_entropy(q, row)
        expected += 0.7 * cross_entropy(y, row) + virtual_term
    found = loss(TfKDReg(0.3, temperature, 0.9, reading), logits, mix=MIX)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("reading", "multiplier"), [("paper", 1.0), ("paper", 2.0), ("code", 1.0), ("code", 50.0)])
def test_tfkd_self(scale, reading, multiplier):
    logits, copy = draw(0, 5, 4, scale), draw(1, 5, 4, scale)
    weight = 0.9 * multiplier / (4 if reading == "code" else 1)
    expected = 0.0
    for row, says, label in zip(logits.tolist(), copy.tolist(), LABELS, strict=True):
        expected += 0.1 * cross_entropy(one_hot(label, 4), row)
        expected += weight * 6.0**2 * cross_entropy(softmax(says, 6.0), row, 6.0)
    found = loss(TfKDSelf(0.9, 6.0, reading, multiplier), logits, teacher=lambda view: Output(copy))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_kd_with_the_mean_over_classes_is_torchs_default_reduction():
    logits, taught = draw(0, 5, 4, 2.0), draw(1, 5, 4, 2.0)
    objective = Objective(
        Peers([Fixed(logits)]), Hinton(0.95, 20.0, "mean"), Classification(), lambda view: Output(taught)
    )
    step = objective(batch(LABELS), Clock(0, 1))
    q = (taught / 20).softmax(1)
    library = torch.nn.functional.kl_div((logits / 20).log_softmax(1), q, reduction="none").mean()
    hard = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    entropy = torch.special.entr(q).sum(1).mean()
    expected = 0.05 * hard + 0.95 * 400 * (library + entropy / 4)
    assert (step.loss / 5).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mix", [None, MIX])
def test_label_smoothing_over_the_other_classes(scale, mix):
    logits = draw(0, 5, 4, scale)
    shares, partners = (SHARES, PARTNERS) if mix else ([1.0] * 5, LABELS)
    expected = 0.0
    for row, one, two, share in zip(logits.tolist(), LABELS, partners, shares, strict=True):
        for label, weight in ((one, share), (two, 1 - share)):
            q = [0.9 if k == label else 0.1 / 3 for k in range(4)]
            expected += weight * cross_entropy(q, row)
    assert loss(LabelSmoothing(0.1, "others"), logits, mix=mix).item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_over_the_others_is_more_of_it_over_all():
    logits = draw(0, 5, 4, 3.0)
    others, more = loss(LabelSmoothing(0.1, "others"), logits), loss(LabelSmoothing(0.1 * 4 / 3), logits)
    assert others.item() == pytest.approx(more.item(), rel=1e-6)


class Two(torch.nn.Module):
    """A network that says one thing of views of zeros and another of views of ones."""

    def __init__(self, own, sibling):
        super().__init__()
        self.own, self.sibling = torch.nn.Parameter(own), torch.nn.Parameter(sibling)

    def forward(self, view):
        return self.sibling if view.any() else self.own


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 4.0), (3.0, 1.0)])
def test_cskd(scale, weight, temperature):
    own, sibling = draw(0, 5, 4, scale), draw(1, 5, 4, scale)
    net = Two(own, sibling)
    objective = Objective(Peers([net]), CSKD(weight, temperature), Classification())
    asked = batch(LABELS)._replace(siblings=(torch.ones(5, 1, 1, 1),))
    step = objective(asked, Clock(0, 1))
    expected = 0.0
    for row, says, label in zip(own.tolist(), sibling.tolist(), LABELS, strict=True):
        expected += cross_entropy(one_hot(label, 4), row)
        expected += weight * temperature**2 * cross_entropy(softmax(says, temperature), row, temperature)
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    step.loss.backward()
    assert net.sibling.grad is None


def test_cskd_without_siblings_says_what_to_do():
    objective = Objective(Peers([Fixed(draw(0, 5, 4, 1.0))]), CSKD(), Classification())
    with pytest.raises(LimbeckError, match="siblings=True"):
        objective(batch(LABELS), Clock(0, 1))


def test_the_sibling_is_answered_in_training_mode_with_statistics_of_its_own():
    norm = torch.nn.BatchNorm1d(4, momentum=1.0)
    net = torch.nn.Sequential(torch.nn.Flatten(), norm)
    views, siblings = draw(0, 5, 4, 1.0).float()[:, :, None, None], 7 + draw(1, 5, 4, 1.0).float()[:, :, None, None]
    objective = Objective(Peers([net]), CSKD(1.0, 1.0), Classification())
    asked = batch(LABELS)._replace(views=(views,), siblings=(siblings,))
    step = objective(asked, Clock(0, 1))
    assert norm.num_batches_tracked == 2
    torch.testing.assert_close(norm.running_mean, siblings.flatten(1).mean(0))
    said = step.siblings[0].logits
    torch.testing.assert_close(said.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
