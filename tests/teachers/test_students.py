"""A stage of several students: what it builds, what it leaves behind, and what it refuses."""

import json
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model
from limbeck.recipes.read import plan, read_recipe
from limbeck.recipes.rerun import evaluate_run
from limbeck.report.compare import group, read_runs
from limbeck.report.page import write_page
from limbeck.teachers.students import build_students
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

OVERRIDES = [
    "model={name: cnn, width: 4}",
    "peers=[{name: cnn, width: 4}, {model: {name: cnn, width: 8}, optimiser: {name: sgd, lr: 0.02}}]",
    "method=dml",
    "data.examples=100",
    "training.epochs=2",
]


def train(folder, *overrides, row="digits/baseline"):
    plan = read_recipe(row, [*OVERRIDES, *overrides])
    with Display(silent=True) as display:
        return plan.run(folder, Runtime("cpu", 1, 1), display)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "peers"
    train(folder)
    return folder


def test_every_student_and_their_ensemble_have_results(run):
    results = json.loads((run / "results.json").read_text())
    assert list(results["students"]) == ["student-0", "student-1", "student-2", "ensemble"]
    counts = list(results["parameters"].values())
    assert counts[0] == counts[1] < counts[2]
    assert counts[3] == sum(counts[:3])
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert {"label/0", "student-1/0", "student-0/2", "error/2", "validation/1/nll"} <= json.loads(lines[-1]).keys()


def test_each_student_is_a_network_by_itself(run):
    for i, width in enumerate((4, 4, 8)):
        net = build_model(ModelSpec("cnn", {"width": width}), 10, 1)
        net.load_state_dict(load_file(run / f"student-{i}.safetensors"))
    figures = evaluate_run(run, "last", [], "cpu")
    results = json.loads((run / "results.json").read_text())["students"]
    for name, found in figures.items():
        assert found["error"] == pytest.approx(results[name]["last"]["error"], abs=1e-9)
        assert found["nll"] == pytest.approx(results[name]["last"]["nll"], rel=1e-4)


@pytest.mark.parametrize("key", ["logits", "best_logits"])
def test_the_ensemble_is_the_mean_of_probabilities(run, key):
    every = [torch.from_numpy(np.load(run / f"predictions-{i}.npz")[key]).double().softmax(1) for i in range(3)]
    with np.load(run / "predictions-ensemble.npz") as arrays:
        together = torch.from_numpy(arrays[key]).double().exp()
    torch.testing.assert_close(together, (every[0] + every[1] + every[2]) / 3, rtol=1e-5, atol=1e-7)


def test_the_first_student_starts_as_it_would_alone_and_no_two_alike():
    models = [ModelSpec("cnn", {"width": 4})] * 3
    students, alone = build_students(models, 10, 1, seed=7), build_students(models[:1], 10, 1, seed=7)
    first = [next(student.parameters()) for student in students]
    assert torch.equal(first[0], next(alone[0].parameters()))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    again = build_students(models, 10, 1, seed=7)
    assert all(torch.equal(a, next(b.parameters())) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    "method",
    ["dml", "{name: dml, updates: alternating}", "{name: kdcl, ensemble: general}", "{name: kdcl, ensemble: linear}"],
)
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, stopped, method):
    settings = [f"method={method}", "training.checkpoint_steps=1", "training.batch_size=40", "data.held_out=100"]
    train(tmp_path / "whole", *settings)
    with stopped(4):
        train(tmp_path / "cut", *settings)
    train(tmp_path / "cut", *settings)
    for i in range(3):
        whole, cut = (load_file(tmp_path / name / f"student-{i}.safetensors") for name in ("whole", "cut"))
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole)
    histories = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert histories[0] == histories[1]


def test_a_student_has_its_own_learning_rate(tmp_path):
    one, other = (
        train(tmp_path / name, f"peers=[{{model: {{name: cnn, width: 8}}, optimiser: {{name: sgd, lr: {lr}}}}}]",
              "method.weight=0.0")
        for name, lr in (("a", 0.02), ("b", 0.2))
    )  # fmt: skip
    assert one["students"]["student-0"]["last"] == other["students"]["student-0"]["last"]
    assert one["students"]["student-1"]["last"] != other["students"]["student-1"]["last"]


def test_tables_name_each_student_by_its_network(run):
    labels = [found.label for found in group(read_runs([run]))]
    assert labels[0] == "dml, model=cnn, width=4, student=student-0"
    assert labels[2:] == ["dml, model=cnn, width=8, student=student-2", "dml, student=ensemble"]


def test_one_of_them_teaches(run, tmp_path):
    taught = ["peers=[]", "method=kd", f"teacher={{run: {run}, student: 2}}", "training.epochs=1"]
    train(tmp_path / "taught", *taught)
    label = json.loads((tmp_path / "taught" / "environment.json").read_text())["teacher"]
    assert re.fullmatch(r"cnn by dml for \d+ epochs, student-2, last", label)


STAGED = {
    "data": {"source": "digits"},
    "training": {"epochs": 1},
    "stages": {
        "pair": {"model": "resnet8", "peers": ["resnet20"], "method": "dml"},
        "student": {"model": "resnet14", "method": "kd", "teacher": {"stage": "pair", "student": 1}},
    },
}


def test_the_one_that_teaches_a_stage_is_the_one_that_is_checked():
    for relation, choices in (("larger", [1]), ("smaller", [0])):
        for student in (0, 1):
            found = plan(
                STAGED, "here", [f"stages.student.teacher={{stage: pair, student: {student}, relation: {relation}}}"]
            )
            with nullcontext() if student in choices else pytest.raises(LimbeckError, match="the teacher must be"):
                found._loaded(Runtime("cpu", 1, 1))
    for choice, says in (
        (
            "stages.student.teacher.student=2",
            "its teacher 'pair' has 2 student(s): choose one by teacher.student, 0 to 1",
        ),
        (
            "stages.student.teacher.student=",
            "its teacher 'pair' has 2 student(s): choose one by teacher.student, 0 to 1",
        ),
        ("stages.pair={peers: [], method: cross_entropy}", "has 1 student(s): leave teacher.student out"),
    ):
        with pytest.raises(LimbeckError) as caught:
            plan(STAGED, "here", [choice])
        assert says in str(caught.value)


def test_a_run_with_held_out_examples_is_evaluated_on_other_data(tmp_path):
    train(tmp_path / "run", "method={name: kdcl, ensemble: general}", "data.held_out=500", "training.epochs=1")
    figures = evaluate_run(tmp_path / "run", "last", ["data.examples=50"], "cpu")
    assert set(figures) == {"student-0", "student-1", "student-2", "ensemble"}
    rates = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert rates["lr/0"] == rates["lr/1"] == pytest.approx(5 * rates["lr/2"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["peers=[]"], "DML teaches at least 2 students together, here is 1: name the others in peers"),
        (["peers=cnn"], "peers: must be a list"),
        (["peers=[{modell: cnn}]"], "unknown key 'modell' in peers.0; did you mean 'model'"),
        (["peers=[{model: cnn, lr: 0.1}]"], "unknown key 'lr' in peers.0; there are: model, optimiser"),
        (["peers=[rsnet8]"], "model 'rsnet8' is unknown; did you mean 'resnet8'"),
        (["peers=[{model: cnn, optimiser: adamw}]"], "one kind of optimiser, not by AdamW and SGD"),
        (["training.trace=true"], "training.trace follows one student, and here are several"),
        (["method=kd", "teacher={run: RUN}"], "has 3 students: choose one by teacher.student, 0 to 2"),
        (["method=kd", "teacher={run: RUN, student: 3}"], "has 3 students: choose one by teacher.student, 0 to 2"),
        (["method=kd", "teacher={weights: x, student: 0}"], "only a teacher's stage or run has several students"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path, overrides, says):
    with pytest.raises(LimbeckError) as caught:
        train(tmp_path / "new", *(text.replace("RUN", str(run)) for text in overrides))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_equal_networks_have_nothing_to_teach_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.teachers.students.np.random.SeedSequence", lambda _: Same())
    with pytest.raises(LimbeckError, match="student-0 and student-1 have the same weights"):
        train(tmp_path / "new", "seed=0")


class Same:
    def generate_state(self, _):
        return [0]


def test_a_page_has_the_curves_of_every_student(run):
    groups = group(read_runs([run]))
    write_page(groups, "last", run / "page.html", "three")
    text = (run / "page.html").read_text()
    for one in groups[:3]:
        assert f'"{one.label}, validation"' in text
        assert f'"{one.label}, training"' in text
    assert "student=ensemble, validation" not in text
