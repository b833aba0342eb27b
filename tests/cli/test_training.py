"""Training by the command line: it continues, finds what is done, and takes a teacher from everywhere."""

import json

import pytest
import torch
from safetensors.torch import load_file


def results(folder):
    return json.loads((folder / "results.json").read_text())["students"]["student"]


def content(folder):
    return json.loads((folder / "environment.json").read_text())["content"]


def test_a_finished_run_is_not_trained_again(tiny, tmp_path):
    first = tiny("digits/baseline", "--folder", "run")
    written = (tmp_path / "run/results.json").stat().st_mtime_ns
    again = tiny("digits/baseline", "--folder", "run")
    assert "run: 2 epochs" in first.err
    assert again.err == ""
    assert again.out == first.out
    assert (tmp_path / "run/results.json").stat().st_mtime_ns == written


def test_a_run_goes_by_its_recipes_name(tiny, tmp_path, recipe, images, done):
    tiny("digits/baseline")
    assert (tmp_path / "runs/digits-baseline/results.json").exists()
    images("pets", "cat", "dog")
    done("train", f"./{recipe('pets', 'my.pets.yaml')}")
    assert (tmp_path / "runs/my.pets/results.json").exists()


def test_seeds_are_runs_side_by_side(tiny, done, tmp_path):
    ran = tiny("digits/baseline", "--seeds", "0,1,2", "--folder", "base")
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == ["seed-0", "seed-1", "seed-2"]
    assert "limbeck compare base " in ran.out
    figures = [results(tmp_path / f"base/seed-{seed}")["last"]["nll"] for seed in range(3)]
    assert len(set(figures)) == 3
    assert "cross_entropy   3 " in done("compare", "base").out
    assert tiny("digits/baseline", "seed=1", "--folder", "base/seed-1").err == ""


def test_a_teacher_is_trained_once_and_found_again(tiny, tmp_path):
    teacher = "stages.teacher.model.width=4"
    tiny("digits/kd", teacher, "--folder", "runs/a")
    (stage,) = (tmp_path / "runs/stages").iterdir()
    written = (stage / "results.json").stat().st_mtime_ns

    ran = tiny("digits/kd", teacher, "stages.student.seed=1", "--folder", "runs/b")
    assert [path.name for path in (tmp_path / "runs/stages").iterdir()] == [stage.name]
    assert (stage / "results.json").stat().st_mtime_ns == written
    assert "teacher: " not in ran.err
    assert content(tmp_path / "runs/a")["teacher"] == content(tmp_path / "runs/b")["teacher"]

    ran = tiny("digits/kd", teacher, "seed=1", "--folder", "runs/c")
    assert len(list((tmp_path / "runs/stages").iterdir())) == 2
    assert "teacher: 2 epochs" in ran.err


def test_a_teacher_comes_from_a_stage_a_run_or_a_file_alike(tiny, refused, tmp_path):
    tiny("digits/kd", "stages.teacher.model.width=4", "--folder", "runs/staged")
    (stage,) = (tmp_path / "runs/stages").iterdir()
    kd = ("digits/baseline", "method={name: kd, temperature: 4.0}")
    # where a teacher was found does not change a result: these are the run that is there already
    assert tiny(*kd, f"teacher.run={stage}", "--folder", "runs/staged").err == ""
    assert tiny(*kd, f"teacher.weights={stage}/student.safetensors", "--folder", "runs/staged").err == ""

    weights = load_file(stage / "student.safetensors")
    torch.save(weights, tmp_path / "plain.pt")
    tiny(*kd, "teacher.weights=plain.pt", "teacher.model={name: cnn, width: 4}", "--folder", "runs/plain")
    assert results(tmp_path / "runs/plain") == results(tmp_path / "runs/staged")
    assert content(tmp_path / "runs/plain") == content(tmp_path / "runs/staged")
    assert refused("train", *kd, "teacher.weights=plain.pt").startswith("plain.pt does not say which network it is for")


def test_the_teachers_best_weights_are_another_teacher(tiny, tmp_path):
    tiny("digits/baseline", "training.epochs=4", "--folder", "runs/t")
    best = results(tmp_path / "runs/t")["best"]["epoch"]
    kd = ("digits/baseline", "method=kd", "teacher.run=runs/t")
    tiny(*kd, "--folder", "runs/last")
    tiny(*kd, "teacher.which=best", "--folder", "runs/best")
    assert (content(tmp_path / "runs/last")["teacher"] == content(tmp_path / "runs/best")["teacher"]) == (best == 4)
    label = json.loads((tmp_path / "runs/best/environment.json").read_text())["teacher"]
    assert label == "cnn by cross_entropy for 4 epochs, best"


def test_best_weights_need_a_validation_split(tiny, refused):
    tiny("digits/baseline", "data.validation=0", "--folder", "runs/t")
    reason = "runs/t has no student-best.safetensors: it was trained without a validation split"
    assert refused("evaluate", "runs/t", "--which", "best") == reason
    said = refused("train", "digits/baseline", "method=kd", "teacher.run=runs/t", "teacher.which=best")
    assert said == reason
    assert refused("compare", "runs/t", "--which", "best").startswith("runs/t has no best weights")


def test_a_teacher_that_knows_other_classes_is_refused(tiny, refused, recipe, images):
    tiny("digits/baseline", "--folder", "runs/t")
    images("pets", "cat", "dog")
    said = refused("train", recipe("pets"), "method=kd", "teacher.run=runs/t")
    assert said == "the network in runs/t/student.safetensors knows 10 classes, the data have 2"


@pytest.mark.parametrize("name", ["nowhere", "pets"])
def test_a_teachers_run_that_is_none_is_named(refused, images, name):
    images("pets", "cat", "dog", count=1)
    said = refused("train", "digits/baseline", "method=kd", f"teacher.run={name}")
    assert said == f"{name} has no results.json: it is no run, or not a finished one"
