"""What a teacher must be beside its student: told before anything is trained."""

import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.recipes.read import plan
from limbeck.teachers.relation import check_relation, outline
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

SMALL, LARGE = ModelSpec("cnn", {"width": 2}), ModelSpec("cnn", {"width": 3})


def two_stages(teacher, student, **changes):
    method = {"name": "kd"} | changes.pop("method", {})
    return {
        "data": {"source": "digits", "examples": 100},
        "training": {"epochs": 1, "batch_size": 50},
        "stages": {
            "teacher": {"model": teacher, "method": "cross_entropy"},
            "student": {"model": student, "method": method, "teacher": {"stage": "teacher", **changes}},
        },
    }


@pytest.mark.parametrize(
    ("relation", "holds"),
    [
        ("any", {(0, 0), (0, 1), (1, 0)}),
        ("smaller", {(0, 1)}),
        ("larger", {(1, 0)}),
        ("same", {(0, 0)}),
    ],
)
def test_relations_compare_numbers_of_parameters_or_shapes(relation, holds):
    for teacher, student in [(0, 0), (0, 1), (1, 0)]:
        nets = [outline((SMALL, LARGE)[which]) for which in (teacher, student)]
        if (teacher, student) in holds:
            check_relation(relation, *nets, "stage 'x'")
        else:
            with pytest.raises(LimbeckError, match=f"stage 'x': the teacher must be .*{relation}"):
                check_relation(relation, *nets, "stage 'x'")


def test_re_kd_with_equal_networks_and_with_a_larger_teacher_is_refused():
    small, large = {"name": "cnn", "width": 2}, {"name": "cnn", "width": 3}
    plan(two_stages(small, large, relation="smaller"), "mine")
    for teacher, student in ((small, small), (large, small)):
        with pytest.raises(LimbeckError, match="stage 'student': the teacher must be smaller than the student"):
            plan(two_stages(teacher, student, relation="smaller"), "mine")


def test_tfkd_self_wants_the_students_own_network():
    small, large = {"name": "cnn", "width": 2}, {"name": "cnn", "width": 3}
    plan(two_stages(small, small, method={"name": "tfkd_self"}), "mine")
    with pytest.raises(LimbeckError, match="the teacher must be the same network as the student"):
        plan(two_stages(large, small, method={"name": "tfkd_self"}), "mine")


def test_a_teacher_of_another_run_is_compared_too(tmp_path):
    first = two_stages({"name": "cnn", "width": 3}, {"name": "cnn", "width": 2})
    runtime = Runtime("cpu", 1, 1)
    with Display(silent=True) as display:
        plan(first["stages"]["teacher"] | {"data": first["data"], "training": first["training"]}, "mine").run(
            tmp_path / "big", runtime, display
        )
        student = {
            "data": first["data"],
            "training": first["training"],
            "model": {"name": "cnn", "width": 2},
            "method": "kd",
            "teacher": {"run": str(tmp_path / "big"), "relation": "smaller"},
        }
        with pytest.raises(LimbeckError, match="the teacher must be smaller than the student"):
            plan(student, "mine").run(tmp_path / "run", runtime, display)
        assert not (tmp_path / "run").exists()
        student["teacher"]["relation"] = "larger"
        plan(student, "mine").run(tmp_path / "run", runtime, display)


def test_an_outline_has_no_memory_and_loads_no_weights():
    net = outline(ModelSpec("torchvision:resnet18", {"pretrained": True}))
    assert all(tensor.device == torch.device("meta") for tensor in net.state_dict().values())
    assert [t.shape for t in outline(SMALL).parameters()] == [t.shape for t in build_model(SMALL, 10, 3).parameters()]
