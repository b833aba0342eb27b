"""What must hold of KDCL's ensembles."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from limbeck.core import Batch, Clock, Mix, Objective, Peers, Target, Units, imitation
from limbeck.core.schedules import Until
from limbeck.targets import KDCL
from limbeck.targets.kdcl import linear, minlogit, naive
from limbeck.tasks import Classification

PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=40)
BUILDERS = [naive, linear, minlogit]
ENSEMBLES = ["naive", "linear", "minlogit", "general"]


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@PROPERTY
@given(
    seed=st.integers(0, 2**31),
    students=st.integers(1, 5),
    classes=st.integers(2, 12),
    scale=st.sampled_from([1e-3, 1.0, 10.0, 1e4]),
)
def test_the_label_finds_minlogit_easier_than_linear_and_linear_easier_than_naive(seed, students, classes, scale):
    z, labels = scale * draw(seed, students, 6, classes), torch.arange(6) % classes
    easy, middle, hard = (cross_entropy(build(z, labels), labels, reduction="none") for build in BUILDERS[::-1])
    each = torch.stack([cross_entropy(one, labels, reduction="none") for one in z])
    assert (easy <= middle + 1e-9).all()
    assert (middle <= hard + 1e-6).all()
    assert (hard <= each + 1e-9).all()
    assert (minlogit(z, labels).softmax(-1) >= z.softmax(-1).amax(0) * hot(labels, classes) - 1e-9).all()


def hot(labels, classes):
    return torch.nn.functional.one_hot(labels, classes)


def test_golden_values():
    z, labels = torch.tensor([[[2.0, 1.0, 0.0]], [[2.0, 0.0, 1.0]]]).double(), torch.tensor([0])
    losses = [cross_entropy(build(z, labels), labels).item() for build in BUILDERS]
    assert losses == pytest.approx([0.407606, 0.368981, 0.239545], abs=1e-6)
    assert minlogit(z, labels).tolist() == [[0.0, -2.0, -2.0]]
    assert linear(z, labels)[0].tolist() == pytest.approx([2.0, 0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize("build", BUILDERS)
def test_a_constant_added_to_a_students_logits_changes_nothing(build):
    z, labels = draw(0, 3, 7, 5), torch.arange(7) % 5
    moved = z + 100 * draw(1, 3, 7, 1)
    torch.testing.assert_close(build(moved, labels).softmax(-1), build(z, labels).softmax(-1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("students", [1, 4])
def test_equal_students_have_their_own_softmax_for_target(build, students):
    z, labels = 3 * draw(0, 1, 7, 5).expand(students, 7, 5), torch.arange(7) % 5
    torch.testing.assert_close(build(z, labels).softmax(-1), z[0].softmax(-1))


@pytest.mark.parametrize("build", BUILDERS)
def test_classes_and_their_one_hot_rows_are_the_same_labels_and_the_type_is_kept(build):
    z, labels = draw(0, 3, 7, 5), torch.arange(7) % 5
    assert torch.equal(build(z, labels), build(z, hot(labels, 5).double()))
    assert [build(z.to(kind), labels).dtype for kind in (torch.float64, torch.float32, torch.bfloat16)] == [
        torch.float64,
        torch.float32,
        torch.float32,
    ]


def test_per_batch_one_student_or_one_mixture_serves_all():
    z, labels = draw(0, 3, 16, 5), torch.arange(16) % 5
    losses = [cross_entropy(one, labels).item() for one in z]
    assert torch.equal(naive(z, labels, "batch"), z[losses.index(min(losses))])
    mixed = linear(z, labels, "batch")
    shares = torch.linalg.lstsq(z.reshape(3, -1).T, mixed.reshape(-1, 1)).solution
    torch.testing.assert_close((shares[:, :, None] * z).sum(0), mixed)
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0).double())
    assert cross_entropy(linear(z, labels), labels) <= cross_entropy(mixed, labels) <= min(losses)


class Fixed(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits.clone())

    def forward(self, view):
        return self.logits


def objective(z, writer):
    return Objective(Peers([Fixed(one) for one in z]), writer, Classification(), examples=len(z[0]))


def batch(labels, mix=None):
    return Batch(torch.arange(len(labels)), (torch.zeros(len(labels), 1, 1, 1),), labels, mix)


LABELS = torch.arange(6) % 4


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_every_student_is_taught_by_one_distribution_without_gradient(ensemble):
    z = 5 * draw(0, 3, 6, 4)
    mix = Mix(torch.arange(6), LABELS.roll(1), torch.linspace(0, 1, 6))
    for one in (batch(LABELS), batch(LABELS, mix)):
        step = objective(z, KDCL(ensemble))(one, Clock(0, 1))
        assert [[target.name for target in lesson] for lesson in step.lessons] == [["label", "ensemble"]] * 3
        for _, target in step.lessons:
            assert (target.weight, target.temperature, target.probabilities.requires_grad) == (1.0, 2.0, False)
            assert (target.probabilities >= 0).all()
            torch.testing.assert_close(target.probabilities.sum(1), torch.ones(6).double())


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_one_student_has_the_label_alone(ensemble):
    assert objective(draw(0, 1, 6, 4), KDCL(ensemble))(batch(LABELS), Clock(0, 1)).lessons == [[Target("label")]]


def test_the_weight_follows_its_schedule():
    taught = objective(draw(0, 2, 6, 4), KDCL(weight=Until(2.0, 1, 0.5)))
    found = [taught(batch(LABELS), Clock(epoch, 2)).lessons[0][1].weight for epoch in (0, 1)]
    assert found == [2.0, 0.5]


def test_the_winner_of_naive_learns_from_its_label_alone():
    z = draw(0, 3, 6, 4)
    taught = objective(z, KDCL("naive"))
    taught(batch(LABELS), Clock(0, 1)).loss.backward()
    losses = torch.stack([cross_entropy(one, LABELS, reduction="none") for one in z])
    for i, student in enumerate(taught.cohort.students):
        alone = z[i].softmax(-1) - hot(LABELS, 4)
        differs = (student.logits.grad - alone).abs().amax(1) > 1e-9
        assert torch.equal(differs, losses.argmin(0) != i)


def test_needs_follow_the_fields():
    assert KDCL().needs.own_views
    assert not KDCL().needs.held_out
    assert not KDCL(views="shared").needs.own_views
    assert KDCL("general").needs.held_out
    assert objective(draw(0, 3, 6, 4), KDCL()).views == 3


def answers(probabilities):
    """Return two-class answers in which the true class, 0, has these probabilities."""
    return [
        Units(torch.tensor([[p, 1 - p] for p in row]).log(), torch.zeros(2).long(), torch.arange(2))
        for row in probabilities
    ]


def test_general_weighs_by_held_out_errors_and_remembers():
    z, writer = draw(0, 2, 6, 4), KDCL("general", temperature=3.0)
    taught = objective(z, writer)
    soft = (z / 3).softmax(-1)
    first = taught(batch(LABELS), Clock(0, 2)).lessons[0][1].probabilities
    torch.testing.assert_close(first, soft.mean(0))
    writer.examine(answers([[0.9, 0.2], [0.3, 0.8]]))
    assert writer.shares == pytest.approx([5 / 12, 7 / 12], abs=1e-5)
    assert writer.figures() == {"share/0": writer.shares[0], "share/1": writer.shares[1]}
    twin = KDCL("general", temperature=3.0)
    twin.load_state_dict(writer.state_dict())
    second = objective(z, twin)
    twin.load_state_dict(writer.state_dict())  # a new objective forgets
    found = second(batch(LABELS), Clock(1, 2)).lessons[1][1].probabilities
    torch.testing.assert_close(found, 5 / 12 * soft[0] + 7 / 12 * soft[1], rtol=0, atol=1e-5)


def test_negative_weights_give_no_negative_probability():
    z, writer = 5 * draw(0, 2, 6, 4), KDCL("general", weights="closed-form")
    taught = objective(z, writer)
    writer.examine(answers([[0.9, 0.9], [0.5, 0.3]]))
    assert writer.shares == pytest.approx([1.192308, -0.192308], abs=1e-5)
    q = taught(batch(LABELS), Clock(0, 1)).lessons[0][1].probabilities
    raw = 1.192308 * (z[0] / 2).softmax(-1) - 0.192308 * (z[1] / 2).softmax(-1)
    assert (raw < -1e-3).any()
    torch.testing.assert_close(q, raw.clamp_min(0) / raw.clamp_min(0).sum(1, keepdim=True), rtol=0, atol=1e-5)


def test_other_ensembles_ask_for_no_weights():
    writer = KDCL("linear")
    writer.examine(answers([[0.9, 0.9], [0.5, 0.3]]))
    assert writer.figures() == {}


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_gradient_through_the_target_is_that_of_the_divergence(ensemble):
    z = draw(0, 2, 6, 4)
    taught = objective(z, KDCL(ensemble, target_gradient=True))
    step = taught(batch(LABELS), Clock(0, 1))
    step.loss.backward()
    divergence = 4 * sum(float(step.parts[f"ensemble/{i}"]) for i in range(2))
    label = sum(float(step.parts[f"label/{i}"]) for i in range(2))
    assert step.loss.item() == pytest.approx(label + divergence, rel=1e-9)
    still = objective(z, KDCL(ensemble))
    still(batch(LABELS), Clock(0, 1)).loss.backward()
    both = [[student.logits.grad for student in one.cohort.students] for one in (taught, still)]
    assert not torch.allclose(both[0][0], both[1][0])


def test_a_target_that_moves_is_imitated_by_divergence_even_where_it_is_zero():
    z, t = draw(0, 2, 5), (1e4 * draw(1, 2, 5)).requires_grad_()
    units = Units(z, torch.tensor([0, 1]), torch.arange(2))
    moving = imitation(units, [0.5 * Target("t", (t / 2).softmax(-1), 1.0, 2.0)])
    assert moving.total.item() == pytest.approx(0.5 * 4 * moving.parts["t"].item(), rel=1e-9)
    moving.total.backward()
    assert t.grad.isfinite().all()
    t = draw(1, 1, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: imitation(units, [Target("t", t.softmax(-1))]).total, (t,))
