"""Schedules, cohorts, objectives, named fields: the small parts of the core."""

from typing import Annotated

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from limbeck.core import Batch, Clock, LimbeckError, Objective, Peers, RampUp, Until
from limbeck.core.config import Named, configurable, fields_of
from limbeck.core.schedules import Constant, Linear, at
from limbeck.core.writer import TargetWriter
from limbeck.matching import AttentionTransfer
from limbeck.targets import KDCL, METHODS, PSKD, CrossEntropy, Hinton, LabelSmoothing
from limbeck.tasks import Classification


def test_schedules_at_first_and_last_epoch():
    first, last = Clock(0, 300), Clock(299, 300)
    assert at(0.4, first) == at(Constant(0.4), last) == 0.4
    assert Linear(0.8)(first) == pytest.approx(0.8 / 300)
    assert Linear(0.8)(last) == 0.8
    assert RampUp(1.0, 80)(first) == pytest.approx(0.0067, abs=5e-5)
    assert RampUp(1.0, 80)(Clock(40, 300)) == pytest.approx(0.29, abs=5e-3)
    assert RampUp(1.0, 80)(Clock(60, 300)) == pytest.approx(0.73, abs=5e-3)
    assert RampUp(1.0, 80)(last) == 1.0
    assert [Until(0.9, 2)(Clock(epoch, 4)) for epoch in range(4)] == [0.9, 0.9, 0.0, 0.0]


def test_the_first_step_of_an_epoch_is_known_where_steps_are_counted():
    assert [Clock(step // 3, 2, step, 6).opens_epoch for step in range(6)] == [True, False, False] * 2
    assert Clock(0, 1, 0, 1).opens_epoch
    assert not Clock(0, 1).opens_epoch
    # a loop of one's own need not count them, and every step would be the first
    assert not any(Clock(epoch, 5).opens_epoch for epoch in range(5))


def test_peers_take_one_shared_view_or_one_each():
    nets = [nn.Flatten(), nn.Flatten()]
    views = (torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2))
    assert [o.logits.sum().item() for o in Peers(nets)(views)] == [0.0, 8.0]
    assert [o.logits.sum().item() for o in Peers(nets)(views[1:])] == [8.0, 8.0]
    with pytest.raises(LimbeckError, match="need 1 or 2 views, not 3"):
        Peers(nets)((*views, views[0]))
    with pytest.raises(LimbeckError, match="at least one student"):
        Peers([])


def test_a_teacher_is_asked_once_for_students_that_share_a_view():
    asked = []

    def teacher(view):
        from limbeck.core import Output

        asked.append(view)
        return Output(view.flatten(1))

    objective = Objective(Peers([nn.Flatten(), nn.Flatten()]), Hinton(0.5, 2.0), Classification(), teacher)
    step = objective(Batch(torch.arange(2), (torch.randn(2, 1, 1, 3),), torch.tensor([0, 1])), Clock(0, 1))
    assert len(asked) == 1
    assert set(step.parts) == {"label/0", "teacher/0", "label/1", "teacher/1"}
    assert step.units == 2


def test_an_objective_refuses_what_its_method_cannot_do_without():
    with pytest.raises(LimbeckError, match="Hinton needs a teacher"):
        Objective(Peers([nn.Flatten()]), Hinton(), Classification())
    with pytest.raises(LimbeckError, match="PSKD remembers each example"):
        Objective(Peers([nn.Flatten()]), PSKD(), Classification())


def test_logits_of_a_wrong_shape_are_named():
    objective = Objective(Peers([nn.Identity()]), CrossEntropy(), Classification())
    with pytest.raises(LimbeckError, match=r"shape \[2, 1, 2, 2\]; classification needs \[2, classes\]"):
        objective(Batch(torch.arange(2), (torch.zeros(2, 1, 2, 2),), torch.tensor([0, 1])), Clock(0, 1))


@configurable
class Holder:
    method: Annotated[TargetWriter, Named(METHODS)]


def test_a_named_field_reads_names_mappings_and_objects_and_writes_mappings():
    read = TypeAdapter(Holder).validate_python
    assert read({"method": "pskd"}).method == PSKD()
    assert read({"method": {"name": "pskd", "alpha": 0.5}}).method == PSKD(0.5)
    assert Holder(PSKD(0.5)).method.alpha == 0.5
    assert fields_of(Holder(LabelSmoothing(0.2))) == {
        "method": {"name": "label_smoothing", "epsilon": 0.2, "spread": "all"}
    }
    nested = {"name": "kd", "alpha": {"name": "until", "value": 0.9, "epoch": 3, "after": 0.0}, "temperature": 4.0}
    assert fields_of(read({"method": nested}))["method"].items() >= nested.items()
    for wrong in ("pskdd", {"alpha": 1}, {"name": "kd", "alpa": 1}, 3):
        with pytest.raises(ValidationError):
            read({"method": wrong})


def test_peers_that_see_different_views_are_not_compared_place_by_place():
    nets = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3)) for _ in range(2)]
    for net in nets:
        net(torch.zeros(1, 1, 8, 8))
    matcher = AttentionTransfer(layers=("0",), between="peers")
    with pytest.raises(LimbeckError, match="KDCL gives each student a view of its own, and matchers between peers"):
        Objective(Peers(nets), KDCL(), Classification(), matchers=[matcher], shape=(1, 8, 8))
