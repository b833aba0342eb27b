"""Translation as a task: the loss on tokens, exact however a batch is cut, and the files of a run."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import Clock, LimbeckError, Objective, Room
from limbeck.recipes.read import plan
from limbeck.targets import PSKD, CrossEntropy, LabelSmoothing, TfKDReg
from limbeck.tasks import Translation
from limbeck.teachers.students import build_students
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime


def train(tree, folder):
    with Display(silent=True) as display:
        return plan(tree, "recipe").run(folder, Runtime("cpu", 1, 1), display)


def objective_of(tree, method, **task):
    stage = plan(tree, "recipe").student
    splits = stage.data.load("cpu")
    networks = [one.double() for one in build_students([stage.model], len(splits.train.classes), 1, 0)]
    return splits.train, Objective(
        method.cohort(networks), method, Translation(**task), None, Room(splits.train.id_space)
    )


def naive(logits, labels, epsilon):
    """Return the sum over tokens of (1 - ε) H(y, p) + ε H(u, p), by plain loops."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        top = max(row)
        norm = top + math.log(math.fsum(math.exp(one - top) for one in row))
        total -= (1 - epsilon) * (row[label] - norm)
        total -= epsilon * math.fsum(one - norm for one in row) / len(row)
    return total


def test_label_smoothing_on_tokens_is_the_formula(recipe):
    examples, objective = objective_of(recipe, LabelSmoothing(epsilon=0.1))
    (batch,) = next(iter(examples.epoch(0, batch_size=60, seed=0))).parts
    step = objective(batch, Clock(0, 1))
    logits = step.students[0].logits
    assert logits.shape == (len(batch.labels), len(examples.classes))
    assert float(step.loss.detach()) == pytest.approx(naive(logits, batch.labels, 0.1), rel=1e-9)


@pytest.mark.parametrize("method", [CrossEntropy(), TfKDReg(), PSKD(alpha=0.5, top_k=3)], ids=["ce", "tfkd", "pskd"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(recipe, method):
    found = []
    for parts, world in ((1, 1), (3, 1), (2, 2)):
        torch.manual_seed(0)
        examples, objective = objective_of(recipe, method, chunk=16)
        rounds = [
            next(iter(examples.epoch(0, batch_size=200, seed=0, rank=r, world=world, parts=parts)))
            for r in range(world)
        ]
        for one in rounds:
            for batch in one.parts:
                (objective(batch, Clock(0, 2)).loss / one.total).backward()
        found.append(torch.cat([weight.grad.flatten() for weight in objective.parameters()]))
    for other in found[1:]:
        assert float((other - found[0]).abs().max()) < 1e-6 * float(found[0].abs().max())


METHODS = {
    "tfkd_reg": {"name": "tfkd_reg"},
    "pskd": {"name": "pskd", "memory": "model"},
    "bank": {"name": "pskd", "top_k": 4, "dtype": "float16"},
    "dml": {"name": "dml"},
    "kdcl": {"name": "kdcl", "ensemble": "linear"},
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_images_train_on_tokens(recipe, tmp_path, name):
    peers = {"peers": [recipe["model"]]} if name in {"dml", "kdcl"} else {}
    results = train(recipe | {"method": METHODS[name]} | peers, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    nll = "validation/0/nll" if peers else "validation/nll"
    assert lines[-1][nll] < lines[0][nll] < math.log(300) + 1
    figures = next(iter(results["students"].values()))["last"]
    assert list(figures) == ["bleu", "chrf", "error", "nll", "ece"]
    assert results["notes"]["bleu"].startswith("nrefs:1|case:mixed")


def test_the_toy_language_is_learned_and_read_again(recipe, tmp_path, command):
    recipe["training"] = {"epochs": 40, "batch_size": 300}
    recipe["model"] |= {"width": 32, "inner": 32}
    results = train(recipe | {"method": "label_smoothing"}, tmp_path / "run")
    last = results["students"]["student"]["last"]
    assert last["error"] < 0.5
    said = (tmp_path / "run" / "translations.txt").read_text().splitlines()
    assert len(said) == 6
    # the vocabulary is the run's own: it is not learned again
    (tmp_path / "text" / "train.de").write_text("null.\n" * 60)
    code, shown = command("evaluate", tmp_path / "run", "--accelerator", "cpu")
    assert (code, f"{100 * last['bleu']:.2f}" in shown) == (0, True), shown
    assert (tmp_path / "run" / "report.html").exists()
    code, shown = command("compare", tmp_path / "run", "--out", tmp_path)
    assert (code, "BLEU" in (tmp_path / "comparison.md").read_text()) == (0, True), shown
    code, shown = command("analyze", tmp_path / "run", "--what", "confusion")
    assert (code, "classifies no images" in shown) == (2, True), shown


def test_a_stopped_run_goes_on_to_the_same_bits(recipe, tmp_path, stopped):
    tree = recipe | {"method": {"name": "pskd", "top_k": 4}, "model": recipe["model"] | {"dropout": 0.2}}
    tree["training"] = {"epochs": 3, "batch_size": 120, "checkpoint_steps": 2}
    train(tree, tmp_path / "whole")
    with stopped(5):
        train(tree, tmp_path / "again")
    train(tree, tmp_path / "again")
    one, other = (load_file(tmp_path / name / "student.safetensors") for name in ("whole", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_students_learn_a_teachers_translations(recipe, tmp_path):
    tree = recipe | {
        "method": "label_smoothing",
        "stages": {"teacher": {}, "student": {"data": {"translations": {"stage": "teacher", "beams": 1}}}},
    }
    train(tree, tmp_path / "run")
    (folder,) = (tmp_path / "stages").glob("translations-*")
    (block,) = folder.glob("*.json")
    told = json.loads(block.read_text())
    assert len(told) == 60
    before = block.stat().st_mtime_ns
    train(tree | {"seed": 0}, tmp_path / "other")
    assert block.stat().st_mtime_ns == before
    content = json.loads((tmp_path / "run" / "environment.json").read_text())["content"]
    teacher = next((tmp_path / "stages").glob("teacher-*"))
    reference = json.loads((teacher / "environment.json").read_text())["content"]["training data"]
    assert content["references"] == reference != content["training data"]


def test_kd_is_taught_word_by_word_by_a_teacher_of_the_same_vocabulary(recipe, tmp_path):
    tree = recipe | {"stages": {"teacher": {}, "student": {"method": "kd", "teacher": {"stage": "teacher"}}}}
    train(tree, tmp_path / "run")
    teacher = next((tmp_path / "stages").glob("teacher-*"))
    other = recipe | {"method": "kd", "teacher": {"run": str(teacher)}}
    other["data"] = recipe["data"] | {"tokenizer": {"vocabulary": 280}}
    with pytest.raises(LimbeckError) as refused:
        train(other, tmp_path / "other")
    assert "has another vocabulary (300 tokens) than the data (280): give both the same training text" in str(
        refused.value
    )


def test_a_study_compares_bleu(recipe, tmp_path, command):
    recipe["training"]["epochs"] = 1
    study = {
        "recipe": recipe,
        "cells": {"baseline": {"method": "cross_entropy"}, "smoothed": {"method": "label_smoothing"}},
        "seeds": [0, 1],
        "claims": ["bleu(smoothed) > bleu(baseline)", "error(smoothed) < error(baseline)"],
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    code, shown = command("study", tmp_path / "study.yaml", "--out", tmp_path / "out", "--accelerator", "cpu")
    assert code == 0, shown
    assert "bleu(smoothed) > bleu(baseline)" in shown
    assert "BLEU" in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"source": "digits"}}, "data.source has no aligned sentences: choose text or multi30k, or set task"),
        ({"model": "resnet8"}, "model: 'resnet8' reads images, and task is translation: choose transformer"),
        (
            {"model": {"name": "transformer", "positions": 16}},
            "data.longest is 32, and the model reads 16 tokens: lower it",
        ),
        ({"method": "cskd"}, "method: CSKD pairs examples of one class, which sentences have none of, and task is"),
        ({"matchers": ["at"], "method": "kd", "teacher": {"run": "x"}}, "matchers compare maps of images, and task is"),
        ({"training": {"trace": True}}, "training.trace sorts images, and task is translation: leave it out"),
        ({"training": {"shuffle": "process"}}, "training.shuffle process keeps images on their processes, and task is"),
        ({"task": "classification"}, "data.source has no images with classes: set task to the one that it is for"),
        ({"task": "translatoin"}, "task: unknown name 'translatoin'; did you mean 'translation'?"),
    ],
)
def test_what_does_not_go_together_is_one_line(recipe, change, said):
    with pytest.raises(LimbeckError) as refused:
        plan({**recipe, **change}, "recipe")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_language_is_refused_before_anything_is_read(recipe):
    recipe["data"]["source"] |= {"target": "english"}
    with pytest.raises(LimbeckError, match="the language code 'english' is unknown"):
        plan(recipe, "recipe")


def test_networks_of_sentences_do_not_classify_images():
    with pytest.raises(LimbeckError, match="model: 'transformer' is for translation: set task to that"):
        plan({"data": {"source": "digits"}, "model": "transformer"}, "recipe")
