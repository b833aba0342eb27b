"""`limbeck ensemble`: figures by hand, sequences, and one line for what cannot be."""

import numpy as np
import pandas as pd
import pytest

from limbeck.metrics import summary
from limbeck.plain import predictions_file

FEW = ("data.examples=60", "data.validation=100", "training.batch_size=30", "training.epochs=2", "schedule.warmup=0")
RECIPE = """
data: {source: digits, examples: 60, validation: 100}
model: {name: cnn, width: 2}
method: {name: kd, alpha: 0.5, temperature: 1.0}
training: {epochs: 2, batch_size: 30}
generations: 3
"""


@pytest.fixture
def three(tiny):
    tiny("digits/baseline", "--seeds", "0,1,2", "--folder", "runs/scratch")


def softmax(logits):
    exp = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def test_the_ensemble_is_the_mean_of_probabilities(done, three, tmp_path):
    ran = done("ensemble", "runs/scratch", "--out", "e.html")
    said = []
    for i in range(3):
        with np.load(tmp_path / f"runs/scratch/seed-{i}" / predictions_file("student")) as arrays:
            said.append(dict(arrays))
    mean = sum(softmax(one["logits"]) for one in said) / 3
    wanted = summary(np.log(mean).astype(np.float32), said[0]["labels"])
    lines = pd.read_csv(tmp_path / "e.csv")
    found = lines[lines.of == "ensemble"].iloc[0]
    for key in ("error", "nll", "ece", "brier"):
        assert found[key] == pytest.approx(wanted[key], abs=1e-5)
    correct = [softmax(one["logits"]).argmax(1) == one["labels"] for one in said]
    pair = lines[(lines.of == "pair")].iloc[0]
    assert pair.disagreement == pytest.approx(np.mean(correct[0] != correct[1]))
    assert pair.double_fault == pytest.approx(np.mean(~correct[0] & ~correct[1]))
    assert (lines.of == "pair").sum() == 3
    assert "mean over 3 pair(s)" in ran.out
    assert "written: e.html, e.csv" in ran.out
    assert "plotly" in (tmp_path / "e.html").read_text()


def test_a_sequence_against_as_many_from_scratch(done, refused, three, tmp_path):
    (tmp_path / "ban.yaml").write_text(RECIPE)
    done("train", "ban.yaml", "--folder", "runs/ban")
    done("ensemble", "runs/ban", "vs", "runs/scratch", "--sequence")
    lines = pd.read_csv(tmp_path / "ensemble.csv")
    members = lines[lines.of == "member"]
    assert members.groupby("group").size().to_dict() == {"first": 3, "second": 3}
    ours = list(members[members.group == "first"].network)
    assert ["generation-1" in ours[0], "generation-2" in ours[1], ours[2]] == [True, True, "runs/ban"]
    said = refused("ensemble", "runs/ban", "vs", "runs/scratch/seed-0", "runs/scratch/seed-1", "--sequence")
    assert said == "an ensemble of 3 against one of 2: compare as many networks with as many"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("runs/scratch/seed-0",), "an ensemble has at least two networks, and here is 1"),
        (("runs/scratch", "runs/scratch/seed-1"), "seed-1 is in the ensemble twice: name each network once"),
        (("runs/scratch", "vs"), "write RUN RUN … vs RUN RUN …"),
        (("runs/scratch", "vs", "runs/scratch", "vs", "runs/scratch"), "write RUN RUN … vs RUN RUN …"),
        (("runs/none", "runs/scratch"), "runs/none"),
        (("runs/scratch", "runs/other"), "have different test sets: give runs with the same one"),
        (("runs/scratch", "--out", "page.txt"), "is no page: give a name that ends in .html"),
    ],
)
def test_what_is_no_ensemble_is_one_line(done, refused, tiny, three, words, reason):
    if "runs/other" in words:
        tiny("digits/baseline", "data.classes=5", "--folder", "runs/other")
    assert reason in refused("ensemble", *words)


PAIR = RECIPE.replace(
    "generations: 3",
    """
stages:
  pair: {method: dml, peers: [{name: cnn, width: 3}]}
  student: {teacher: {stage: pair, student: 1, which: best}}
""",
)


def test_a_sequence_takes_the_student_and_the_weights_that_taught(done, refused, tmp_path):
    (tmp_path / "pair.yaml").write_text(PAIR)
    done("train", "pair.yaml", "--folder", "runs/one", "stages.pair.training.epochs=4")
    ran = done("ensemble", "runs/one", "--sequence")
    members = pd.read_csv(tmp_path / "ensemble.csv")[lambda lines: lines.of == "member"]
    (stage,) = (tmp_path / "runs/stages").iterdir()
    assert list(members.network) == [f"runs/stages/{stage.name}/student-1", "runs/one"]
    assert list(members.weights) == ["best", "last"]
    assert f"{stage.name}/student-1 (cnn, dml), best weights" in ran.out
    with np.load(stage / predictions_file("student-1")) as said:
        assert members.nll[0] == pytest.approx(summary(said["best_logits"], said["labels"])["nll"])
    done("ensemble", "runs/one", "--sequence", "--which", "best")
    assert list(pd.read_csv(tmp_path / "ensemble.csv").weights.dropna()) == ["best", "best"]
    # a network that taught and one that is named are one
    said = refused("ensemble", "runs/one", f"runs/stages/{stage.name}/student-1", "--sequence", "--which", "best")
    assert "student-1 is in the ensemble twice" in said


def test_a_teacher_whose_answers_are_not_kept_is_named(done, refused, tmp_path):
    (tmp_path / "kept.yaml").write_text(RECIPE.replace("generations: 3", "teacher: {which: epoch-1}\ngenerations: 2"))
    done("train", "kept.yaml", "--folder", "runs/kept")
    said = refused("ensemble", "runs/kept", "--sequence")
    assert "taught with its weights epoch-1, and a run keeps the answers of its last and best weights alone" in said
    (weights,) = (tmp_path / "runs/stages").glob("*/student.safetensors")
    given = weights.relative_to(tmp_path)
    (tmp_path / "file.yaml").write_text(RECIPE.replace("generations: 3", f"teacher: {{weights: {given}}}"))
    done("train", "file.yaml", "--folder", "runs/file")
    assert refused("ensemble", "runs/file", "--sequence") == (
        f"the teacher of runs/file is no run but {given}, whose answers no folder keeps"
    )
