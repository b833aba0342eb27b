"""Detectors that follow another's choice: a teacher, a past self, a peer."""

import copy

import pytest
import torch
from detecting import CLASSES, CLASSIFYING, KINDS, batch_of, built, objective_of, pictures

from limbeck.core import Clock, LimbeckError, Output, Peers
from limbeck.core.cohort import answer
from limbeck.targets import DML, Hinton
from limbeck.tasks.detection import Detection
from limbeck.teachers import Teacher


@pytest.mark.parametrize("kind", CLASSIFYING)
def test_a_teacher_that_is_the_students_copy_says_the_same_of_the_very_boxes(kind):
    student, view = built(kind), pictures(((64, 64), (48, 64), (40, 32)))
    said = student(view)
    for other in (copy.deepcopy(student).eval(), copy.deepcopy(student.train()).eval()):
        told = answer(other, view, said)
        torch.testing.assert_close(told.logits, said.logits, rtol=1e-4, atol=1e-5)
        assert {"labels", "pictures", "weight"} <= set(told.beside)
        assert not any(name.startswith("loss_") for name in told.beside)
    teacher = Teacher(copy.deepcopy(student))
    step = objective_of([student], Hinton(0.5, 2.0), teacher)(batch_of(view), Clock(0, 1))
    assert float(step.parts["teacher"]) == pytest.approx(0, abs=1e-4)
    teacher = Teacher(built(kind, seed=1))
    step = objective_of([student], Hinton(0.5, 2.0), teacher)(batch_of(view), Clock(0, 1))
    assert float(step.parts["teacher"]) > 1e-3


@pytest.mark.parametrize("kind", CLASSIFYING)
def test_peers_tell_the_classes_of_the_first_ones_choice_and_learn_boxes_of_their_own(kind):
    one, other, view = built(kind), built(kind, seed=1), pictures()
    first, second = Peers([one, other]).train()((view,))
    for name in ("labels", "pictures", "weight", "boxes" if kind == "faster_rcnn" else "places"):
        assert torch.equal(first.beside[name], second.beside[name])
    alone = {name: value for name, value in other(view).beside.items() if name.startswith("loss_")}
    assert alone
    for name, value in alone.items():
        torch.testing.assert_close(second.beside[name], value)
    objective = objective_of([one, other], DML(updates="alternating"))
    for learner in (0, 1):
        objective.zero_grad()
        objective(batch_of(view), Clock(0, 1), learner).loss.backward()
        moved = [any(weight.grad is not None for weight in network.parameters()) for network in (one, other)]
        assert moved == [learner == 0, learner == 1]


@pytest.mark.parametrize("kind", KINDS)
def test_peers_are_asked_side_by_side_where_nothing_is_learned(kind):
    networks = [built(kind), built(kind, seed=1)]
    cohort = Peers(networks).eval()
    for network, said in zip(networks, cohort((pictures(),)), strict=True):
        alone = network(pictures())
        assert said.logits.shape == (0, CLASSES)
        assert torch.equal(said.beside["boxes"], alone.beside["boxes"])


@pytest.mark.parametrize("kind", CLASSIFYING)
def test_another_kind_cannot_be_followed(kind):
    (other,) = set(CLASSIFYING) - {kind}
    with pytest.raises(LimbeckError, match=r"can only follow another"):
        answer(built(kind).eval(), pictures(), built(other)(pictures()))


def test_ssd_follows_no_other_anchors():
    said = built("ssdlite")(pictures())
    with pytest.raises(LimbeckError) as refused:
        answer(built("ssdlite", maps=3).eval(), pictures(), said)
    assert "this one has maps of 32x32, 16x16, 8x8, the other of 32x32, 16x16, 8x8, 4x4: take" in str(refused.value)


def test_units_without_boxes_are_refused():
    with pytest.raises(LimbeckError, match="does not say which boxes its logits are of; detection needs a detector"):
        Detection().units(Output(torch.zeros(2, 3)), batch_of(pictures()))
