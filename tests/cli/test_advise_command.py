"""`limbeck advise`: what it shows and leaves behind, and what it refuses."""

import json

import pytest

ASKED = ("--data", "digits", "--student", "{name: cnn, width: 2}", "--budget", "5m", "--epochs", "1", "--seeds", "2")
SMALL = ("data.examples=60", "data.validation=100", "training.batch_size=30")
ONE = ("--methods", "label_smoothing")


def test_an_advice_ends_with_a_recommendation_and_a_command_that_trains_it(done, tmp_path):
    ran = done("advise", *ASKED, *SMALL, *ONE)
    folder = tmp_path / "advice/digits-cnn"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "advice.json", "advice.yaml", "final", "final.yaml", "recipe.yaml", "report.html", "report.md",
    ]  # fmt: skip
    assert "Recommended: train it " in ran.out
    assert "label_smoothing, the only challenger, against cross_entropy on the test set: " in ran.out
    command = next(line for line in ran.out.splitlines() if line.startswith("limbeck train advice/digits-cnn/recipe"))
    assert f"`limbeck advise {ASKED[0]}" in (folder / "report.md").read_text()
    values = json.loads((folder / "advice.json").read_text())
    again = done("advise", *ASKED, *SMALL, *ONE)
    assert "to make" not in again.err
    assert json.loads((folder / "advice.json").read_text())["verdict"] == values["verdict"]
    done(*command.partition("   (")[0].split()[1:], *SMALL)
    assert (tmp_path / "runs/digits-cnn/results.json").exists()


def test_dry_prints_the_plan_and_leaves_nothing_behind(done, tmp_path):
    ran = done("advise", *ASKED, *SMALL, *ONE, "--dry")
    assert "label smoothing, ε 0.1" in ran.out
    assert "needs a teacher: give --teacher" in ran.out or "not asked for" in ran.out
    assert "In all about" in ran.out
    assert not list(tmp_path.iterdir())


def test_a_budget_that_is_too_small_is_said_before_anything_long_and_nothing_is_left(refused, tmp_path):
    said = refused("advise", *ASKED[:5], "1s", "--epochs", "500", *SMALL, *ONE, after=1)
    assert "--budget 1s is too small: a final of 2 seeds with 500 epochs each, label_smoothing" in said
    assert "takes about" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "--data digitz",
            "no folder of that name is there, and no data source; did you mean 'digits'?",
        ),
        ("--student cm", "--student: model 'cm' is unknown"),
        ("--teacher runs/gone", "--teacher runs/gone: there is no finished run in such a folder"),
        ("--budget soon", "--budget 'soon': write a time such as 90s, 30m, 2h or 1h30m"),
        ("--by eror", "--by 'eror': there is no such figure; did you mean 'error'?"),
        ("--methods kdd", "--methods: there is no candidate 'kdd'; did you mean"),
        ("--methods kd", "nothing to compare: no candidate is left (kd: needs a teacher: give --teacher)"),
        ("--seeds 1", "Invalid value for '--seeds'"),
        ("--epochs 0", "Invalid value for '--epochs'"),
        ("--jobs 0", "Invalid value for '--jobs'"),
        ("model.width=3", "override 'model.width=3': only data, optimiser, schedule, training are open"),
        ("training.epochs=3", "leave training.epochs out: give --epochs"),
        ("data.validation=0", "data.validation is 0"),
        ("data.validation=1000", "can't hold 1000 of 1000 training examples out"),
        ("optimiser.lrr=0.1", "unknown key 'lrr' in optimiser; did you mean 'lr'?"),
        ("--accelerator cuda", "there is no CUDA GPU here"),
    ],
)
def test_a_misuse_is_one_line_and_leaves_nothing_behind(refused, tmp_path, words, reason):
    if "cuda" in words and __import__("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    assert reason in refused("advise", *ASKED, *words.split())
    assert not list(tmp_path.iterdir())


def test_data_are_needed(refused):
    assert "Missing option '--data'" in refused("advise", "--student", "cnn", "--budget", "1m")


def test_a_teacher_of_other_classes_is_refused(refused, tiny, tmp_path):
    tiny("digits/baseline", "data.classes=3", "--folder", "runs/three")
    said = refused("advise", *ASKED, "--teacher", "runs/three")
    assert said.startswith("--teacher runs/three cannot teach these data: ")
    assert "knows 3 classes, the data have 10" in said
    assert not (tmp_path / "advice").exists()


def test_a_folder_of_images_without_a_split_is_refused(refused, images, tmp_path):
    images("pets", "cat", "dog", count=1)
    said = refused("advise", "--data", "pets", *ASKED[2:], "data.source.size=8", "data.workers=0")
    assert "can't hold 2 of 2 training examples out" in said
    assert not (tmp_path / "advice").exists()
