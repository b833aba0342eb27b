"""Several students beside a teacher: each is compared on its own view, by its own copy of a matcher."""

import copy

import pytest
import torch

from limbeck.core import Batch, Clock, LimbeckError, Objective, Peers
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet, InheritExplore, Overhaul
from limbeck.targets import DML, KDCL, CrossEntropy, Hinton
from limbeck.tasks import Classification
from limbeck.teachers.teacher import Teacher

EXAMPLES, CLOCK = 8, Clock(0, 2, 1, 6)


def view(number):
    return torch.randn(EXAMPLES, 1, 8, 8, generator=torch.Generator().manual_seed(number))


def batch(views):
    labels = torch.arange(EXAMPLES) % 4
    return Batch(torch.arange(EXAMPLES), tuple(view(number) for number in range(views)), labels)


@pytest.fixture
def together(tiny):
    """Return a function that makes an objective over students of three sizes and a teacher."""
    _, network = tiny

    def make(method, *matchers, students=3, seed=0):
        nets = [network(number, width=4 + 2 * number) for number in range(students)]
        teacher = Teacher(network(11, width=6, norm="batch"))
        objective = Objective(Peers(nets), method, Classification(), teacher, EXAMPLES, matchers, (1, 8, 8), seed)
        for link in objective.comparison.links:
            if (coding := link.matcher.coding()) is not None:
                link.matcher.take(coding.coder.encoder)
        return objective

    return make


MATCHERS = {
    # two of these want the same layer of the teacher, and every student does
    "hints": (FitNet(layer="layer1"), FitNet(layer="layer1", form="half"), FitNet(layer="layer2")),
    "od": (Overhaul(), AttentionTransfer()),
    "ft": (FactorTransfer(coder="autoencoder", factors=3), InheritExplore(AttentionTransfer())),
}


@pytest.mark.parametrize("views", ["own", "shared"])
@pytest.mark.parametrize("name", MATCHERS)
def test_each_student_is_compared_on_its_own_view(together, name, views):
    """As one student alone on that view, with the matchers' own modules."""
    matchers = MATCHERS[name]
    objective = together(KDCL("naive", views=views), *matchers)
    seen = batch(3 if views == "own" else 1)
    step = objective(seen, CLOCK)
    for i, student in enumerate(objective.cohort.parts):
        alone = Objective(
            Peers([student]), CrossEntropy(), Classification(), objective.teacher, None, matchers, (1, 8, 8)
        )
        mine = [link for link in objective.comparison.links if link.student == i]
        for link, other in zip(mine, alone.comparison.links, strict=True):
            other.matcher.load_state_dict(link.matcher.state_dict())
            if isinstance(link.matcher, FactorTransfer):
                other.matcher.take(link.matcher._frozen[0])
        own = seen.views[i if views == "own" else 0]
        expected = alone(seen._replace(views=(own,)), CLOCK).parts
        terms = expected.keys() - {"label"}
        assert len(terms) >= 2
        for term in terms:
            torch.testing.assert_close(step.parts[f"{term}/{i}"], expected[term])


def test_students_have_adapters_of_their_own(together):
    objective = together(DML(), FitNet(), AttentionTransfer())
    found = objective.adapters
    assert [student for student, _ in found] == [0, 1, 2]
    weights = [dict(adapter.named_parameters())["regressor.layers.0.weight"] for _, adapter in found]
    assert [weight.shape[1] for weight in weights] == [8, 12, 16]
    twins = [together(CrossEntropy(), FitNet(), students=count) for count in (1, 2)]
    one, other = (dict(twin.comparison.matchers[0].named_parameters()) for twin in twins)
    assert all(torch.equal(one[name], other[name]) for name in one), "a student more changes nobody's first weights"


def test_a_teacher_of_kd_is_heard_as_well(together):
    """The answer that KD imitates is the one of the very pass that is heard."""
    objective = together(Hinton(0.5, 2.0), AttentionTransfer(), students=1)
    asked = []
    objective.teacher.net.register_forward_hook(lambda *_: asked.append(1))
    step = objective(batch(1), CLOCK)
    assert asked == [1]
    assert {"label", "attention"} < step.parts.keys()


@pytest.mark.parametrize("learner", [0, 1])
def test_in_turns_only_the_learner_and_its_matcher_move(together, learner):
    """Nobody else has a gradient, or moves the statistics of its matcher."""
    method = DML(1.0, updates="alternating")
    peers = FactorTransfer(5.0, between="peers", coder="autoencoder", factors=3)
    objective = together(method, InheritExplore(peers), FitNet(), students=2)
    before = copy.deepcopy(objective.state_dict())
    objective(batch(1), CLOCK, learner).loss.backward()
    after = objective.state_dict()
    for i, link in enumerate(objective.comparison.links):
        moved = link.student == learner
        assert all((p.grad is not None) == moved for p in link.matcher.parameters())
        statistics = [name for name in after if name.startswith(f"comparison.matchers.{i}.") and "running" in name]
        assert statistics
        assert all(torch.equal(before[name], after[name]) != moved for name in statistics)
    for i, student in enumerate(objective.cohort.parts):
        assert all((p.grad is not None) == (i == learner) for p in student.parameters())


def test_gradients_between_peers_reach_the_student_alone(together):
    """Each student's own term moves no other student, nor anything that serves another."""
    peers = InheritExplore(FactorTransfer(5.0, between="peers", coder="autoencoder", factors=3))
    objective = together(CrossEntropy(), peers, FitNet(between="peers"))
    with objective.comparison.listening():
        objective.cohort((view(0),))
    compared = objective.comparison(CLOCK)
    assert [len(terms) for terms in compared.terms] == [8, 8, 8]
    assert {term.weight for term in compared.terms[0].values()} >= {2.5, 50.0}
    sum(term.weight * term.distance for term in compared.terms[1].values()).backward()
    for i, student in enumerate(objective.cohort.parts):
        touched = any(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())
        assert touched == (i == 1)
    for link in objective.comparison.links:
        touched = all(p.grad is not None for p in link.matcher.parameters())
        assert touched == (link.student == 1)
        assert touched or all(p.grad is None for p in link.matcher.parameters())


def test_rebuilding_a_peer_teaches_the_auto_encoder_alone(together):
    objective = together(CrossEntropy(), FactorTransfer(0.0, between="peers", coder="autoencoder"), students=2)
    with objective.comparison.listening():
        objective.cohort((view(0),))
    term = objective.comparison(CLOCK).terms[0]["rebuilding"]
    term.distance.backward()
    assert all(p.grad is None for p in objective.cohort.parameters())
    own, other = objective.comparison.matchers
    assert all(p.grad is not None for p in own.peer.parameters())
    assert all(p.grad is None for p in [*own.translator.parameters(), *other.parameters()])


@pytest.mark.parametrize(
    ("matcher", "students", "said"),
    [
        (FitNet(between="peers"), 1, "FitNet between peers needs at least two students: set peers, or between"),
        (AttentionTransfer(layers=("layer9",)), 1, "the student has no layer 'layer9'"),
    ],
)
def test_what_cannot_be_compared_is_said(together, matcher, students, said):
    with pytest.raises(LimbeckError, match=said):
        together(CrossEntropy(), matcher, students=students)
