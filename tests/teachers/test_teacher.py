"""The frozen teacher: never trained, never switched to training mode, and only for data that it knows."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.teachers import Inputs, Teacher, TeacherChoice, load_teacher
from limbeck.teachers.teacher import origin
from limbeck.train.weights import fingerprint

DIGITS = Inputs(("zero", "one", "two"), 1, (0.5,), (0.25,))
CPU = torch.device("cpu")


def net(channels=1, classes=3):
    torch.manual_seed(2)
    return build_model(ModelSpec("cnn", {"width": 2}), classes, channels)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a weights file as a run does, with what the network was trained on."""

    def write(inputs=DIGITS, named=True):
        path = tmp_path / "student.safetensors"
        about = {"model": {"name": "cnn", "width": 2} if named else None, **inputs._asdict()}
        weights = net(inputs.channels, len(inputs.classes)).state_dict()
        save_file({key: value.clone() for key, value in weights.items()}, path, {"limbeck": json.dumps(about)})
        return path

    return write


def test_a_teacher_answers_in_eval_mode_without_gradient():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Dropout(0.5))
    teacher = Teacher(layers.train())
    view = torch.randn(5, 1, 2, 2)
    first, second = teacher(view), teacher(view)
    assert torch.equal(first.logits, second.logits)
    assert not first.logits.requires_grad
    assert not any(parameter.requires_grad for parameter in layers.parameters())
    assert not isinstance(teacher, nn.Module)


def test_a_teacher_of_a_run_names_its_own_network_and_answers_as_it_did(file):
    path = file()
    view = torch.randn(4, 1, 8, 8)
    expected = net().eval()(view)
    teacher = load_teacher(TeacherChoice(weights=str(path)), DIGITS).meet(DIGITS, CPU)
    torch.testing.assert_close(teacher(view).logits, expected)  # another memory format rounds otherwise
    assert teacher.fingerprint() == fingerprint(net())


def test_a_teacher_reads_views_as_its_own_data_were_normalised(file):
    own = DIGITS._replace(mean=(0.1,), std=(0.8,))
    teacher = load_teacher(TeacherChoice(weights=str(file(own))), DIGITS).meet(DIGITS, CPU)
    pixels = torch.rand(4, 1, 8, 8)
    expected = net().eval()((pixels - 0.1) / 0.8)
    torch.testing.assert_close(teacher((pixels - 0.5) / 0.25).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (("zero", "one"), "knows 2 classes, the data have 3"),
        (("one", "zero", "two"), "has the data's classes in another order"),
        (("zero", "one", "ten"), "knows other classes than the data: 'ten' where they have 'two'"),
    ],
)
def test_other_classes_or_another_order_are_refused(file, theirs, expected):
    path = file(DIGITS._replace(classes=theirs))
    with pytest.raises(LimbeckError, match=expected):
        load_teacher(TeacherChoice(weights=str(path)), DIGITS)
    with pytest.raises(LimbeckError, match=expected):
        Teacher(net(), DIGITS._replace(classes=theirs)).meet(DIGITS, CPU)


def test_other_channels_are_refused(file):
    colour = Inputs(DIGITS.classes, 3, (0.5,) * 3, (0.25,) * 3)
    teacher = load_teacher(TeacherChoice(weights=str(file(colour))), DIGITS)
    with pytest.raises(LimbeckError, match="reads 3-channel images, the data have 1"):
        teacher.meet(DIGITS, CPU)


def test_a_file_that_does_not_say_its_network_needs_one(file, tmp_path):
    torch.save(net().state_dict(), tmp_path / "plain.pt")
    with pytest.raises(LimbeckError, match="does not say which network it is for: give the teacher's model as well"):
        load_teacher(TeacherChoice(weights=str(tmp_path / "plain.pt")), DIGITS)
    path = file(named=False)
    with pytest.raises(LimbeckError, match="is of a network of your own"):
        load_teacher(TeacherChoice(weights=str(path)), DIGITS)
    choice = TeacherChoice(weights=str(path), model=ModelSpec("cnn", {"width": 2}))
    assert load_teacher(choice, DIGITS).fingerprint() == fingerprint(net())
    with pytest.raises(LimbeckError, match="holds the weights of another architecture"):
        load_teacher(TeacherChoice(weights=str(path), model=ModelSpec("cnn", {"width": 3})), DIGITS)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(LimbeckError, match=r"there is no weights file .*nowhere\.pt"):
        load_teacher(TeacherChoice(weights=str(tmp_path / "nowhere.pt")), DIGITS)
    with pytest.raises(LimbeckError, match=r"has no results\.json: it is no run, or not a finished one"):
        load_teacher(TeacherChoice(run=str(tmp_path)), DIGITS)
    (tmp_path / "results.json").write_text(json.dumps({"students": {"student": {}}}))
    with pytest.raises(LimbeckError, match="it was trained without a validation split"):
        load_teacher(TeacherChoice(run=str(tmp_path), which="best"), DIGITS)


@pytest.mark.parametrize("name", ["cnn", "timm:resnet18", "torchvision:resnet18"])
def test_a_network_without_weights_is_no_teacher(name):
    with pytest.raises(LimbeckError, match=rf"the teacher '{name}' would be untrained: give run, weights"):
        load_teacher(TeacherChoice(model=ModelSpec(name)), DIGITS)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stage": "a", "run": "b"},
        {"run": "a", "weights": "b"},
        {"run": "a", "model": ModelSpec("cnn")},
        {"stage": "a", "model": ModelSpec("cnn")},
        {"weights": "a", "which": "best"},
    ],
)
def test_a_choice_is_exactly_one_and_leaves_nothing_ignored(fields):
    with pytest.raises(ValueError, match="teacher"):
        TeacherChoice(**fields)


def test_a_choices_network_is_checked_before_anything_runs():
    with pytest.raises(LimbeckError, match="model 'cnnn' is unknown; did you mean 'cnn'"):
        TeacherChoice(weights="a", model=ModelSpec("cnnn"))


def test_a_fingerprint_is_of_every_weight():
    one, other = net(), net()
    assert fingerprint(one) == fingerprint(other)
    with torch.no_grad():
        other.head.bias[0] += 1e-6
    assert fingerprint(one) != fingerprint(other)


def test_tables_call_a_teacher_by_its_file_or_its_run(file, tmp_path):
    path = file()
    choice = TeacherChoice(weights=str(path))
    teacher = load_teacher(choice, DIGITS)
    assert origin(choice, teacher) == ("student.safetensors", teacher.fingerprint())
    (tmp_path / "recipe.yaml").write_text(
        "{data: {source: digits}, model: {name: cnn}, method: {name: pskd}, training: {epochs: 9}}"
    )
    (tmp_path / "environment.json").write_text('{"group": "abc"}')
    (tmp_path / "results.json").write_text('{"epochs": 9}')
    assert origin(TeacherChoice(run=str(tmp_path)), teacher) == ("cnn by pskd for 9 epochs, last", "abc last")
    (tmp_path / "results.json").write_text('{"epochs": 2}')
    poor = TeacherChoice(run=str(tmp_path), which="best")
    assert origin(poor, teacher) == ("cnn by pskd for 2 of 9 epochs, best", "abc best")
    (tmp_path / "environment.json").write_text('{"group"')
    with pytest.raises(LimbeckError, match=r"environment\.json is damaged"):
        origin(TeacherChoice(run=str(tmp_path)), teacher)
