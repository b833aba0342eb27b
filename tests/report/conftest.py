"""Folders of finished runs with figures of one's own choice, written without training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from pages import EVIL, LATER

from limbeck.studies.make import judge_runs, prepare
from limbeck.tuning.make import Outcome
from limbeck.tuning.record import Trial
from limbeck.tuning.search import prepare as prepare_search

RECIPE = {
    "reference": {"source": f"a paper {EVIL}", "error": 9.5},
    "data": {"source": "digits", "validation": 100},
    "model": {"name": "cnn", "width": 4},
    "training": {"epochs": 2, "batch_size": 30},
}
FIGURES = {
    "error": 0.1, "top5_error": 0.0, "nll": 0.4, "brier": 0.2, "ece": 0.05, "aurc": 0.02, "eaurc": 0.01,
}  # fmt: skip
BOXES = ("voc_map", "voc07_map", "ap", "ap50", "ap75")


@pytest.fixture
def finished(tmp_path):
    """Return a function that writes a finished run's folder: finished("a", seed=1, figures={"error": 0.2})."""

    def write(name, seed=0, figures=None, *, recipe=None, teacher=None, test="t", best=True, group=None, backbone=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        tree = {
            "data": {"source": {"name": "digits"}, "views": [{"name": "pad_crop", "padding": 1}], "workers": 2},
            "model": {"name": "cnn", "width": 4},
            "method": {"name": "cross_entropy"},
            "teacher": None,
            "optimiser": {"name": "sgd", "lr": 0.1},
            "training": {"epochs": 2, "checkpoint_steps": None},
        } | (recipe or {})
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**tree, "seed": seed}))
        environment = {
            "group": group or f"{sorted(tree.items())}{teacher}{backbone}".encode().hex(),
            "teacher": teacher,
            "backbone": backbone,
            "content": {"test data": test},
            "versions": {"torch": "2"},
            "device": "x86_64",
            "threads": 2,
        }
        (folder / "environment.json").write_text(json.dumps(environment))
        last = FIGURES | (figures or {})
        students = {"student": {"last": last, **({"best": last} if best else {})}}
        (folder / "results.json").write_text(json.dumps({"students": students}))
        generator = np.random.default_rng(seed)
        labels = np.arange(40) % 4
        logits = generator.normal(size=(40, 4)).astype(np.float32)
        logits[np.arange(40), labels] += 2
        arrays = {"ids": np.arange(40), "labels": labels, "logits": logits, **({"best_logits": logits} if best else {})}
        np.savez(folder / "predictions.npz", **arrays)
        lines = [{"epoch": e, "error": 0.5 / e, **({"validation/error": 0.6 / e} if best else {})} for e in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def detector(finished):
    """Return a function that writes a finished detector's folder: detector("a", 1, {"ap": 0.3}, found=Found(...)).

    Its log has what a detector's has: a training error of anchors, and 1 - AP50 of the validation split where there is
    one.
    """

    def write(name, seed=0, figures=None, *, found=None, best=False, **rest):
        recipe = {"task": {"name": "detection"}} | rest.pop("recipe", {})
        folder = finished(name, seed, recipe=recipe, best=best, **rest)
        last = dict(zip(BOXES, (0.4, 0.38, 0.2, 0.41, 0.15), strict=True)) | (figures or {})
        students = {"student": {"last": last, **({"best": last} if best else {})}}
        cost = {"epochs": 2, "seconds_of_last_session": 3.0 + len(name), "parameters": {"student": 100 * len(name)}}
        (folder / "results.json").write_text(json.dumps({"students": students, **cost}))
        columns = {} if found is None else found._asdict()
        np.savez(folder / "predictions.npz", **columns, **{f"best_{key}": one for key, one in columns.items() if best})
        lines = [
            {"epoch": e, "loss": 2 / e, "error": 0.05} | ({"validation/error": 0.9 / e} if best else {}) for e in (1, 2)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def together(finished):
    """Return a function that writes a finished run of two students, a cnn and a WRN-16-1, and their ensemble."""

    def write(name, seed=0, test="t"):
        folder = finished(name, seed, recipe={"peers": [{"model": {"name": "wrn_16_1"}}]}, test=test)
        (folder / "predictions.npz").unlink()
        results = json.loads((folder / "results.json").read_text())["students"]["student"]
        names = ("student-0", "student-1", "ensemble")
        (folder / "results.json").write_text(json.dumps({"students": dict.fromkeys(names, results)}))
        for i, tail in enumerate(("0", "1", "ensemble")):
            labels = np.arange(40) % 4
            logits = np.random.default_rng([seed, i]).normal(size=(40, 4)).astype(np.float32)
            np.savez(folder / f"predictions-{tail}.npz", ids=np.arange(40), labels=labels, logits=logits)
        lines = [{"epoch": e, "error/0": 0.5 / e, "error/1": 0.4 / e} for e in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


@pytest.fixture
def outcome(finished, tmp_path):
    """Return a function that judges a study whose runs have figures of one's own choice, written without training.

    `figures(cell, seed)` returns those of a run, None for a run that failed, or LATER for one that is not made yet.
    """

    def judge(study, figures):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump({"recipe": RECIPE, **study}))
        prepared = prepare(str(tmp_path / "s.yaml"), tmp_path / "out", [], None, "cpu", "limbeck study s.yaml")
        failures = {}
        for cell in prepared.cells:
            for seed, plan in cell.plans.items():
                found = figures(cell, seed)
                if found is LATER:
                    continue
                if found is None:
                    failures[cell.run(seed)] = f"ran out of {EVIL}"
                    continue
                folder = finished(f"out/runs/{cell.run(seed)}", seed, found, recipe=plan.plain("student"))
                path = folder / "results.json"
                size = 100 * ord(cell.name[0])
                cost = {"epochs": 2, "seconds_of_last_session": 1.5 + size / 1e3, "parameters": {"student": size}}
                path.write_text(json.dumps(json.loads(path.read_text()) | cost))
        return judge_runs(prepared, failures)

    return judge


@pytest.fixture
def tuned(tmp_path):
    """Return what came out of a search of hostile recipes, without training."""
    found = prepare_search(
        ["digits/kd", "digits/baseline", "digits/pskd"],
        ["optimiser.lr=0.001..1:log", "schedule.warmup=0,1"],
        trials=4,
        by="error",
        folder=tmp_path / "out",
        jobs=1,
        threads=1,
        accelerator="cpu",
        command=f"limbeck tune {EVIL}",
    )
    names = ("digits/kd", EVIL, "a_very_long_name_without_any_place_to_break_it_" * 3)
    searches = [replace(search, recipe=name) for search, name in zip(found.searches, names, strict=True)]
    point = {"optimiser.lr": 0.02, "schedule.warmup": 1, "method.alpha": 0.25, "method.temperature": 3.5}
    trials = {
        search.label: [
            Trial(1, search.own, 0.25),
            Trial(2, {key: point[key] for key in search.space}, 0.125),
            Trial(3, {key: point[key] for key in search.space} | {"optimiser.lr": 0.9}, None, f"diverged {EVIL}"),
            Trial(4, {key: point[key] for key in search.space} | {"optimiser.lr": 0.03}, 0.5),
        ]
        for search in searches
    }
    return Outcome(replace(found, searches=searches), trials)
