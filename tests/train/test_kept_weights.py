"""Weights from along a training: kept, found, and made up where an earlier training passed them by."""

import json
import shutil

import pytest
import torch
from pydantic import ValidationError

from limbeck import files
from limbeck.core import LimbeckError
from limbeck.recipes import read_recipe
from limbeck.recipes.read import plan
from limbeck.teachers import TeacherChoice
from limbeck.train.kept import Mark, epoch_of, read_mark
from limbeck.train.loop import Training
from limbeck.train.progress import Display
from limbeck.train.record import read
from limbeck.train.runtime import Runtime
from limbeck.train.weights import read_weights

FEW = ["data.examples=200", "data.validation=100", "training.batch_size=50", "training.epochs=6"]
PAIR = {
    "data": {"source": "digits", "examples": 100, "validation": 100},
    "model": {"name": "cnn", "width": 2},
    "training": {"epochs": 4, "batch_size": 50},
    "stages": {
        "teacher": {"model": {"width": 4}},
        "student": {"method": "kd", "teacher": {"stage": "teacher", "which": "epoch-2"}},
    },
}


class Said(Display):
    """A display that remembers what it was told."""

    def __init__(self):
        super().__init__(silent=True)
        self.lines = []

    def say(self, text):
        if "keeping" in text or "differ" in text:
            self.lines.append(text)


def run(folder, *overrides, recipe="digits/baseline", display=None):
    tree = read_recipe(recipe, [*FEW, *overrides]) if isinstance(recipe, str) else plan(recipe, "here", overrides)
    with display or Display(silent=True) as shown:
        return tree.run(folder, Runtime("cpu", 1, 1), shown)


def tensors(path):
    return read_weights(path)[0]


def same(one, other):
    one, other = tensors(one), tensors(other)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "run"
    return folder, run(folder, "training.keep_epochs=[2,6]", "training.keep_accuracies=[0.3,1.0]")


def test_kept_weights_are_those_of_a_run_that_stopped_there(kept, tmp_path):
    folder, _ = kept
    run(tmp_path / "two", "training.stop_epoch=2")
    assert same(folder / "student-epoch-2.safetensors", tmp_path / "two" / "student.safetensors")
    assert same(folder / "student-epoch-6.safetensors", folder / "student.safetensors")
    assert not same(folder / "student-epoch-2.safetensors", folder / "student.safetensors")


def test_an_accuracy_is_kept_where_it_is_first_reached_and_results_list_all(kept, tmp_path):
    folder, results = kept
    first = next(line["epoch"] for line in read(folder / "metrics.jsonl") if line["validation/error"] <= 1 - 0.3)
    assert 1 < first < 6, "choose an accuracy that is reached in the middle"
    found = results["kept"]["student"]
    assert {mark: one["epoch"] for mark, one in found.items()} == {"epoch-2": 2, "epoch-6": 6, "accuracy-0.3": first}
    assert not (folder / "student-accuracy-1.safetensors").exists()
    assert found["epoch-6"]["error"] == pytest.approx(results["students"]["student"]["last"]["error"])
    assert files.read_json(folder / "results.json")["kept"] == results["kept"]
    run(tmp_path / "cut", f"training.stop_epoch={first}")
    assert same(folder / "student-accuracy-0.3.safetensors", tmp_path / "cut" / "student.safetensors")


def test_what_is_kept_is_no_part_of_a_run_s_identity(kept, tmp_path):
    folder, results = kept
    plain = run(tmp_path / "plain")
    assert plain["students"] == results["students"]
    one, other = (files.read_json(place / "environment.json") for place in (folder, tmp_path / "plain"))
    assert (one["identity"], one["group"]) == (other["identity"], other["group"])


def test_a_finished_run_that_kept_nothing_makes_it_up_once(kept, tmp_path):
    folder, _ = kept
    run(tmp_path / "run")
    shown = Said()
    results = run(tmp_path / "run", "training.keep_epochs=[2]", "training.keep_accuracies=[0.3]", display=shown)
    assert any("went on without keeping epoch-2, accuracy-0.3: training" in line for line in shown.lines)
    assert not any(line.startswith("warning") for line in shown.lines)
    for mark in ("epoch-2", "accuracy-0.3"):
        assert same(folder / f"student-{mark}.safetensors", tmp_path / "run" / f"student-{mark}.safetensors")
    assert not (tmp_path / "run" / "again").exists()
    shown = Said()
    assert run(tmp_path / "run", "training.keep_epochs=[2]", display=shown) == results
    assert not shown.lines


def test_numbers_that_differ_when_made_up_are_told(tmp_path):
    run(tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["loss"] += 1e-6
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = Said()
    run(tmp_path / "run", "training.keep_epochs=[1]", display=shown)
    assert any("the numbers differ from the first time" in line for line in shown.lines)


@pytest.mark.parametrize("stop_at", [3, 9, 17])
def test_kept_weights_survive_a_kill(kept, tmp_path, stopped, stop_at):
    folder, results = kept
    options = ("training.keep_epochs=[2,6]", "training.keep_accuracies=[0.3,1.0]", "training.checkpoint_steps=3")
    with stopped(stop_at):
        run(tmp_path / "cut", *options)
    assert run(tmp_path / "cut", *options)["kept"] == results["kept"]
    for mark in results["kept"]["student"]:
        assert same(folder / f"student-{mark}.safetensors", tmp_path / "cut" / f"student-{mark}.safetensors")


def test_a_run_that_is_to_keep_more_after_a_kill_makes_it_up(kept, tmp_path, stopped):
    folder, _ = kept
    with stopped(14):
        run(tmp_path / "cut")
    run(tmp_path / "cut", "training.keep_epochs=[2,6]")
    for mark in ("-epoch-2", "-epoch-6", ""):
        assert same(folder / f"student{mark}.safetensors", tmp_path / "cut" / f"student{mark}.safetensors")


def test_making_up_survives_a_kill(kept, tmp_path, stopped):
    folder, _ = kept
    run(tmp_path / "run")
    for stop_at in (9, 5):
        with stopped(stop_at):
            run(tmp_path / "run", "training.keep_epochs=[6]")
    # a mark that the half-made beginning has passed is not lost either
    run(tmp_path / "run", "training.keep_epochs=[2,6]")
    for mark in ("epoch-2", "epoch-6"):
        assert same(folder / f"student-{mark}.safetensors", tmp_path / "run" / f"student-{mark}.safetensors")


def test_students_that_learn_together_are_kept_each(tmp_path):
    options = ("peers=[{name: cnn, width: 4}]", "method=dml", "training.keep_accuracies=[0.3]")
    results = run(tmp_path / "run", *options, "training.keep_epochs=[3]")
    for i, name in enumerate(("student-0", "student-1")):
        errors = [line[f"validation/{i}/error"] for line in read(tmp_path / "run" / "metrics.jsonl")]
        own = [epoch for epoch, error in enumerate(errors, 1) if error <= 0.7]
        found = results["kept"][name]
        assert found["epoch-3"]["epoch"] == 3
        assert found.get("accuracy-0.3", {}).get("epoch") == (own[0] if own else None)
        assert (tmp_path / "run" / f"{name}-epoch-3.safetensors").exists()


def test_a_stage_keeps_what_its_student_asks_for_also_when_it_was_trained_before(tmp_path):
    run(tmp_path / "first", recipe=PAIR, display=(shown := Said()))
    assert not shown.lines
    (stage,) = (tmp_path / "stages").iterdir()
    stamp = (stage / "student.safetensors").stat().st_mtime_ns
    assert (stage / "student-epoch-2.safetensors").exists()
    run(tmp_path / "second", "stages.student.teacher.which=epoch-3", recipe=PAIR, display=(shown := Said()))
    assert [line for line in shown.lines if "without keeping epoch-3" in line]
    assert sorted(files.read_json(stage / "results.json")["kept"]["student"]) == ["epoch-2", "epoch-3"]
    assert (stage / "student.safetensors").stat().st_mtime_ns == stamp
    assert len(list((tmp_path / "stages").iterdir())) == 1
    one, other = (files.read_json(tmp_path / name / "environment.json") for name in ("first", "second"))
    assert one["content"]["teacher"] != other["content"]["teacher"]
    assert one["teacher"] == "cnn by cross_entropy for 4 epochs, epoch-2"
    assert (tmp_path / "first" / one["teacher_run"]).resolve() == stage.resolve()


def test_a_kept_teacher_is_the_short_stopped_one(tmp_path):
    """Two ways to the same teacher: weights from along the run, and a run that stops there."""
    run(tmp_path / "kept", recipe=PAIR)
    stopped_one = ("stages.teacher.training.stop_epoch=2", "stages.student.teacher.which=last")
    run(tmp_path / "stopped", *stopped_one, recipe=PAIR)
    assert same(tmp_path / "kept" / "student.safetensors", tmp_path / "stopped" / "student.safetensors")


def test_a_run_teaches_by_what_it_kept(kept, tmp_path):
    folder, _ = kept
    for which in ("epoch-2", "accuracy-0.30"):
        choice = [f"teacher={{run: {folder}, which: {which}}}", "method=kd"]
        run(tmp_path / which, *choice)
    assert files.read_json(tmp_path / "accuracy-0.30" / "environment.json")["teacher"].endswith("accuracy-0.3")


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("epoch-3", r"did not keep epoch-3 \(it has epoch-2, epoch-6, accuracy-0.3\).*training\.keep_epochs=\[3\]"),
        ("epoch-9", r"ended after 6 epochs, and epoch-9 is beyond: name an earlier one"),
        ("accuracy-0.2", r"did not keep accuracy-0.2 .*training\.keep_accuracies=\[0\.2\]"),
        ("accuracy-1", r"never reached accuracy 1 on its validation split; its best was 0\.\d+: name a lower one"),
    ],
)
def test_what_a_run_did_not_keep_is_one_line(kept, tmp_path, which, reason):
    folder, _ = kept
    with pytest.raises(LimbeckError, match=reason) as told:
        run(tmp_path / "run", f"teacher={{run: {folder}, which: {which}}}", "method=kd")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("stages.student.teacher.which=epoch-5", r"teacher\.which is epoch-5, but stage 'teacher' ends after 4 epochs"),
        ("stages.student.teacher.which=frist", r"teacher\.which: must be last, best, epoch-N or accuracy-A, .*'frist'"),
        ("stages.student.teacher.which=accuracy-1.5", r"must be last, best, epoch-N or accuracy-A"),
        ("stages.student.teacher.which=epoch-0", r"must be last, best, epoch-N or accuracy-A"),
        ("stages.teacher.training.keep_epochs=[5]", r"keep_epochs has 5, after the last of 4 epochs: leave it out"),
        ("stages.teacher.training.keep_epochs=[2,2]", r"name each place once"),
    ],
)
def test_a_place_that_will_not_be_there_is_refused_before_training(tmp_path, change, reason):
    with pytest.raises(LimbeckError, match=reason) as told:
        run(tmp_path / "run", change, recipe=PAIR)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_an_accuracy_needs_a_validation_split(tmp_path):
    without = {**PAIR, "data": {**PAIR["data"], "validation": 0}}
    with pytest.raises(LimbeckError, match=r"training\.keep_accuracies is read on the validation split"):
        plan(without, "here", ["training.keep_accuracies=[0.5]"])
    with pytest.raises(LimbeckError, match=r"teacher\.which is accuracy-0.5, but stage 'teacher' has no validation"):
        plan(without, "here", ["stages.student.teacher.which=accuracy-0.5"])


def test_a_scale_shortens_marks_with_the_epochs():
    student = {"method": "kd", "teacher": {"stage": "teacher", "which": "epoch-100"}}
    long = {**PAIR, "training": {"epochs": 200, "keep_epochs": [50, 51, 200]}}
    long["stages"] = {**PAIR["stages"], "student": student}
    found = plan(long, "here", ["scale=tiny"])
    assert found.stages["teacher"].training.keep_epochs == (1, 4)
    assert found.student.teacher.which == "epoch-2"


def test_marks_are_read_as_they_are_written():
    for text in ("epoch-1", "epoch-120", "accuracy-0.7", "accuracy-1", "accuracy-0", "accuracy-1e-05"):
        assert str(read_mark(text)) == text
    assert TeacherChoice(stage="a", which="accuracy-.50").which == "accuracy-0.5"
    for text in ("epoch--1", "epoch-1.5", "accuracy-2", "accuracy-nan", "epoch", "epoch-٣", "last"):
        assert read_mark(text) is None
    with pytest.raises(ValidationError, match="only a teacher's stage or run has epoch-2 weights"):
        TeacherChoice(weights="a.pt", which="epoch-2")


def test_the_epoch_of_an_accuracy_that_is_met_exactly():
    history = [{"epoch": 1, "validation/error": 0.95}, {"epoch": 2, "validation/error": 1 - 0.1}]
    assert epoch_of(Mark(accuracy=0.1), history, 0, 1) == 2
    assert epoch_of(Mark(accuracy=0.11), history, 0, 1) is None
    assert epoch_of(Mark(epoch=3), history, 0, 1) is None


def test_the_default_keeps_nothing():
    assert Training().marks == []


def test_a_file_that_was_removed_is_made_up(kept, tmp_path):
    folder, _ = kept
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "student-epoch-2.safetensors").unlink()
    run(tmp_path / "copy", "training.keep_epochs=[2]")
    assert same(folder / "student-epoch-2.safetensors", tmp_path / "copy" / "student-epoch-2.safetensors")
