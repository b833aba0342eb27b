"""`limbeck analyze --what mimicry` and `--what capacity`, on a chain, its kept teachers and a baseline."""

import numpy as np
import pandas as pd
import pytest

RECIPE = """
data: {source: digits, examples: 60, validation: 100}
method: {name: kd, alpha: 0.5, temperature: 2.0}
training: {epochs: 2, batch_size: 30}
chain: [{name: cnn, width: 4}, {name: cnn, width: 2}]
"""


@pytest.fixture
def taught(done, tmp_path):
    (tmp_path / "pair.yaml").write_text(RECIPE)
    done("train", "pair.yaml", "--seeds", "0,1", "--folder", "runs/kd")
    large = "chain=[{name: cnn, width: 8}, {name: cnn, width: 2}]"
    done("train", "pair.yaml", large, "teacher.which=epoch-1", "--folder", "runs/large")
    alone = ("chain=null", "model={name: cnn, width: 2}", "method=cross_entropy")
    done("train", "pair.yaml", *alone, "--folder", "runs/alone")


def test_students_are_measured_beside_their_teachers(done, refused, taught, tmp_path):
    ran = done("analyze", "runs/kd/seed-0", "runs/large", "--what", "mimicry", "--temperature", "2")
    lines = pd.read_csv(tmp_path / "mimicry.csv")
    assert list(lines.split) == ["train", "test"] * 2
    assert set(lines.temperature) == {2.0}
    test = lines[lines.split == "test"].iloc[0]
    with np.load(tmp_path / "runs/kd/seed-0/predictions.npz") as arrays:
        said = dict(arrays)
    assert test.error == pytest.approx((said["logits"].argmax(1) != said["labels"]).mean())
    (stage,) = [
        place
        for place in (tmp_path / "runs/kd/stages").iterdir()
        if (place / "recipe.yaml").read_text().count("\nseed: 0")
    ]
    with np.load(stage / "predictions.npz") as arrays:
        teacher = dict(arrays)
    assert test.teacher_error == pytest.approx((teacher["logits"].argmax(1) != teacher["labels"]).mean())
    assert test.agreement == pytest.approx((teacher["logits"].argmax(1) == said["logits"].argmax(1)).mean())
    assert "KD loss at temperature 2" in ran.out
    assert refused("analyze", "runs/alone", "--what", "mimicry") == "runs/alone had no teacher: give runs that had one"
    assert "a temperature above 0" in refused("analyze", "runs/large", "--what", "mimicry", "--temperature", "0")
    assert "--temperature is for --what mimicry alone" in refused(
        "analyze", "runs/alone", "--what", "spread", "--temperature", "2"
    )


def test_students_by_the_size_of_their_teacher(done, refused, taught, tmp_path):
    ran = done("analyze", "runs/kd", "runs/large", "runs/alone", "--what", "capacity", "--out", "c.html")
    lines = pd.read_csv(tmp_path / "c.csv")
    assert len(lines) == 4
    assert lines.parameters.nunique() == 2
    assert np.isfinite(lines.teacher_error[:3]).all(), "a kept teacher's error is known as well"
    assert lines.line.nunique() == 3
    assert lines.line.str.endswith("epochs, epoch-1").any()
    assert "written: c.html, c.csv" in ran.out
    said = refused("analyze", "runs/alone", "--what", "capacity")
    assert said.startswith("none of these runs was taught by another run or stage")
