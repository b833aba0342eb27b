"""Detection as a task: methods between detectors, what is logged, and the files of a run."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import Clock, Objective, Output, Room
from limbeck.core.batch import Batch, Pictures
from limbeck.errors import LimbeckError, NonFiniteLossError
from limbeck.recipes.read import plan
from limbeck.targets import PSKD, CrossEntropy, Hinton, LabelSmoothing, TfKDReg
from limbeck.tasks import Detection
from limbeck.tasks.detection import _found
from limbeck.teachers import Teacher
from limbeck.teachers.students import build_students
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime


def train(tree, folder):
    with Display(silent=True) as display:
        return plan(tree, "recipe").run(folder, Runtime("cpu", 1, 1), display)


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


METHODS = {
    "label_smoothing": {"name": "label_smoothing"},
    "tfkd_reg": {"name": "tfkd_reg"},
    "pskd": {"name": "pskd", "memory": "model"},
    "dml": {"name": "dml"},
    "alternating": {"name": "dml", "updates": "alternating"},
    "kdcl": {"name": "kdcl", "views": "shared", "ensemble": "linear"},
    "flowing": {"name": "kdcl", "views": "shared", "target_gradient": True},
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_train_faster_rcnn(detection, tmp_path, name):
    check_method(detection("faster_rcnn"), METHODS[name], tmp_path / "run")


@pytest.mark.parametrize("name", ["label_smoothing", "pskd", "dml"])
def test_methods_train_ssd(detection, tmp_path, name):
    check_method(detection("ssdlite"), METHODS[name], tmp_path / "run")


def check_method(tree, method, folder):
    together = method["name"] in {"dml", "kdcl"}
    results = train(tree | {"method": method} | ({"peers": [tree["model"]]} if together else {}), folder)
    assert list(results["students"]) == (["student-0", "student-1"] if together else ["student"])
    for line in logged(folder):
        errors = [value for key, value in line.items() if key.startswith("error")]
        assert len(errors) == (2 if together else 1)
        assert all(0 <= error <= 1 for error in errors)
        assert line["loss"] > 0
        assert any(key.startswith("loss_boxes") for key in line)
    for name, figures in results["students"].items():
        assert 0 <= figures["last"]["ap50"] <= 1
        assert (folder / f"detections{name.removeprefix('student')}.json").exists()


def objective_of(tree, method, teacher=None):
    stage = plan(tree, "recipe").student
    splits = stage.data.load("cpu")
    networks = build_students([stage.model], len(splits.train.classes), 3, 0)
    return splits.train, Objective(method.cohort(networks), method, Detection(), teacher, Room(splits.train.id_space))


def gradients(tree, method, teacher=None):
    """Return loss and gradient of a batch."""
    examples, objective = objective_of(tree, method, teacher)
    (batch,) = next(iter(examples.epoch(0, batch_size=4, seed=0))).parts
    step = objective.train()(batch, Clock(0, 2))
    step.loss.backward()
    found = [weight.grad.flatten() for weight in objective.parameters() if weight.grad is not None]
    return torch.cat([step.loss.detach()[None], *found]), step


@pytest.mark.parametrize("kind", ["faster_rcnn", "ssdlite"])
@pytest.mark.parametrize(
    "method",
    [Hinton(alpha=0.0, temperature=3.0), LabelSmoothing(0.0), TfKDReg(alpha=0.0), PSKD(alpha=0.0, memory="model")],
    ids=["kd", "label_smoothing", "tfkd_reg", "pskd"],
)
def test_at_its_limit_a_method_is_labels_alone(detection, kind, method):
    tree = detection(kind)
    stage = plan(tree, "recipe").student
    torch.manual_seed(9)
    (taught,) = build_students([stage.model], 3, 3, 5)
    plain, _ = gradients(tree, CrossEntropy())
    found, step = gradients(tree, method, Teacher(taught) if method.needs.teacher else None)
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-7)
    assert len(step.parts) > len([name for name in step.parts if name.startswith("loss_")])


def test_past_selves_tell_the_classes_of_the_same_boxes(detection):
    """A student that has not moved is its own past: what it imitates beside the label is what it says itself."""
    tree = detection("faster_rcnn")
    examples, objective = objective_of(tree, PSKD(alpha=1.0, memory="model"))
    objective.train().after_epoch()
    (batch,) = next(iter(examples.epoch(1, batch_size=4, seed=0))).parts
    step = objective(batch, Clock(1, 2))
    assert float(step.parts["past"]) == pytest.approx(0, abs=1e-4)
    assert float(step.parts["label"]) > 0.1


def test_kd_between_two_detectors_in_one_recipe(detection, tmp_path):
    tree = detection()
    wider = tree["model"] | {"width": 16, "head": 32}
    stages = {"teacher": {"model": wider}, "student": {"method": "kd", "teacher": {"stage": "teacher"}}}
    results = train(tree | {"stages": stages}, tmp_path / "run")
    assert set(logged(tmp_path / "run")[0]) >= {"label", "teacher", "loss_boxes", "error", "loss"}
    assert 0 <= results["students"]["student"]["last"]["ap50"] <= 1


def test_another_kind_of_teacher_is_refused_before_training(detection, tmp_path):
    tree, other = detection("faster_rcnn"), detection("ssdlite")
    stages = {"teacher": {"model": other["model"]}, "student": {"method": "kd", "teacher": {"stage": "teacher"}}}
    with pytest.raises(LimbeckError) as refused:
        train(tree | {"stages": stages}, tmp_path / "run")
    expected = "stage 'student': the teacher is ssdlite and the student faster_rcnn, and classes are told of the same"
    assert expected in str(refused.value)
    assert not (tmp_path / "stages").exists()
    train(other, tmp_path / "other")
    with pytest.raises(LimbeckError, match="student: the teacher is ssdlite and the student faster_rcnn, and classes"):
        train(tree | {"method": "kd", "teacher": {"run": str(tmp_path / "other")}}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_retinanet_learns_from_labels_alone_and_logs_no_error(detection, tmp_path):
    train(detection("retinanet"), tmp_path / "run")
    for line in logged(tmp_path / "run"):
        assert "error" not in line
        assert line["loss"] == pytest.approx(line["loss_classes"] + line["loss_boxes"], rel=1e-5)


def test_rectangles_are_found_and_written_in_their_own_pixels(detection, voc, tmp_path, command):
    """Pictures of 96x48 pixels are seen as 64x64: what is found comes back in pixels of the picture, side by side."""
    tree = detection("ssdlite")
    tree["data"] |= {"source": tree["data"]["source"] | {"root": str(voc(train=16, sizes=((48, 96),)))}}
    tree["model"] |= {"frozen": False}
    tree["optimiser"] = {"name": "adamw", "lr": 0.005, "weight_decay": 0.0}
    tree["training"] = {"epochs": 3, "batch_size": 4}
    results = train(tree, tmp_path / "run")
    last = results["students"]["student"]["last"]
    assert last["ap50"] > 0.4
    told = json.loads((tmp_path / "run" / "detections.json").read_text())
    best = max(told, key=lambda one: one["score"])
    left, top, wide, tall = best["bbox"]
    assert left >= 0
    assert left + wide <= 96.01
    assert top + tall <= 48.01
    assert tall < wide * 2
    assert best["category"] in {"blue", "red"}
    assert best["file_name"] == f"test{best['image_id']}"
    each = json.loads((tmp_path / "run" / "classes.json").read_text())
    assert set(each) == {"blue", "red"}
    code, shown = command("evaluate", tmp_path / "run", "--accelerator", "cpu")
    assert (code, f"{100 * last['ap50']:.2f}" in shown) == (0, True), shown


def test_what_is_found_is_scaled_back_by_each_axis():
    view = Pictures(
        torch.zeros(2, 3, 64, 96), ((64, 96), (32, 64)), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (0, 0),
        (1, 2),
    )  # fmt: skip
    batch = Batch(torch.tensor([7, 3]), (view,), torch.zeros(2, dtype=torch.int64))
    beside = {
        "boxes": torch.tensor([[0.0, 0.0, 96.0, 64.0], [16.0, 8.0, 32.0, 24.0], [8.0, 8.0, 64.0, 32.0]]),
        "classes": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.9, 0.5, 0.7]),
        "pictures": torch.tensor([0, 0, 1]),
    }
    sizes = np.zeros((9, 2), np.int64)
    sizes[7], sizes[3] = (128, 48), (320, 64)
    found = _found(Output(torch.zeros(0, 3), beside), batch, sizes)
    assert found.pictures.tolist() == [7, 7, 3]
    assert found.boxes.tolist() == [[0, 0, 48, 128], [8, 16, 16, 48], [8, 80, 64, 320]]
    assert found.classes.tolist() == [1, 2, 1]


@pytest.mark.parametrize("kind", ["faster_rcnn", "ssdlite", "retinanet"])
def test_a_training_that_diverges_is_one_line(detection, tmp_path, kind):
    tree = detection(kind)
    tree["optimiser"] = {"name": "sgd", "lr": 1e30, "weight_decay": 0.0}
    tree["training"] = {"epochs": 2, "batch_size": 2}
    with pytest.raises(NonFiniteLossError, match="the loss became NaN or infinite at step [1-3], in the term"):
        train(tree, tmp_path / "run")


def test_bf16_trains(detection, tmp_path):
    tree = detection("faster_rcnn", method={"name": "pskd", "memory": "model"})
    tree["training"] |= {"precision": "bf16-mixed", "epochs": 2}
    with Display(silent=True) as display:
        plan(tree, "recipe").run(tmp_path / "run", Runtime("cpu", 1, 1, "bf16-mixed"), display)
    assert load_file(tmp_path / "run" / "student.safetensors")
    assert all(np.isfinite(list(line.values())).all() for line in logged(tmp_path / "run"))
