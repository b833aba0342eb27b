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


def test_re_kd_with_equal_networks_is_refused():
    small, large = {"name": "cnn", "width": 2}, {"name": "cnn", "width": 3}
    plan(two_stages(small, large, relation="smaller"), "mine")
    with pytest.raises(LimbeckError, match="stage 'student': the teacher must be smaller than the student"):
        plan(two_stages(small, small, relation="smaller"), "mine")


def test_the_same_network_has_the_same_options_even_if_they_change_no_shape():
    with pytest.raises(LimbeckError, match=r"is densenet121 \(transition bn\), the student densenet121"):
        plan(two_stages({"name": "densenet121", "transition": "bn"}, {"name": "densenet121"}, relation="same"), "mine")


def test_sizes_are_compared_at_the_number_of_classes(tmp_path):
    """With 1,000 classes the last layer counts: the order of these two networks turns round."""
    resnet, shuffle = ModelSpec("resnet110"), ModelSpec("shufflenet_v2")
    check_relation("larger", outline(resnet, 10), outline(shuffle, 10), "x")
    check_relation("smaller", outline(resnet, 1000), outline(shuffle, 1000), "x")
    small, large = {"name": "cnn", "width": 2}, {"name": "cnn", "width": 3}
    with (
        Display(silent=True) as display,
        pytest.raises(LimbeckError, match="stage 'student': the teacher must be smaller than the student"),
    ):
        plan(two_stages(large, small, relation="smaller"), "mine").run(tmp_path / "run", Runtime("cpu", 1, 1), display)
    assert not list(tmp_path.iterdir()), "nothing is trained before that is known"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": {"source": "digits", "classes": 5}}, "learns 5 classes, its teacher 'teacher' 10, or others"),
        ({"method": {"name": "tfkd_reg", "correct": 0.1}, "teacher": None}, r"method\.correct is 0\.1"),
        ({"teacher": {"stage": "teacher", "which": "best"}}, "teacher.which is best, but stage 'teacher' has no"),
        ({"training": {"stop_accuracy": 0.5}}, "read on the validation split"),
    ],
)
def test_what_a_later_stage_gets_wrong_is_told_before_the_first_is_trained(tmp_path, changes, reason):
    net = {"name": "cnn", "width": 2}
    tree = two_stages(net, net)
    tree["data"] |= {"validation": 0}
    tree["stages"]["student"] |= changes
    with Display(silent=True) as display, pytest.raises(LimbeckError, match=reason):
        plan(tree, "mine").run(tmp_path / "run", Runtime("cpu", 1, 1), display)
    assert not list(tmp_path.iterdir())


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


def test_a_network_that_computes_its_widths_by_tensors_has_an_outline():
    before = torch.get_rng_state()
    found = outline(ModelSpec("torchvision:regnet_y_400mf"), 7, 1)
    assert {weight.device.type for weight in found.parameters()} == {"meta"}
    assert found(torch.zeros(1, 1, 64, 64, device="meta")).shape == (1, 7)
    assert torch.equal(before, torch.get_rng_state())
