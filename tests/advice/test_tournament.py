"""Tournaments from their plan to their advice: who goes on, what is looked at, what is made again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from limbeck.advice import tournament
from limbeck.advice.candidates import BASELINE, CANDIDATES
from limbeck.advice.measure import Bench
from limbeck.advice.planned import decided, read_planned
from limbeck.advice.rounds import contest, prepared
from limbeck.advice.schedule import Rung
from limbeck.advice.tournament import halved, slower
from limbeck.core import LimbeckError
from limbeck.recipes.read import read_recipe
from limbeck.report.advice_page import advice_values, write_advice
from limbeck.studies.here import Here
from limbeck.studies.outcome import Made, Outcome
from limbeck.studies.study import read_study
from limbeck.train import run as running
from limbeck.train.progress import Display

THREE = "label_smoothing,pskd,tfkd_reg"


def validation_errors(folder, name):
    """The error of a rung's runs, counted from their answers to the validation split."""
    found = {}
    for place in sorted((folder / name / "runs").iterdir()):
        with np.load(place / "predictions.npz") as arrays:
            said = dict(arrays)
        wrong = [int(np.argmax(row) != label) for row, label in zip(said["logits"], said["labels"], strict=True)]
        assert len(wrong) == 100
        found[place.name.partition("-seed")[0]] = sum(wrong) / len(wrong)
    return found


def test_the_test_set_is_opened_in_the_final_alone(finished):
    folder, asked_for = finished
    assert len(asked_for) == 4  # the four runs of the final
    assert all(asked_for)
    for place in folder.glob("rung-*/runs/*/recipe.yaml"):
        assert "evaluate: validation" in place.read_text()
    for place in folder.glob("final/runs/*/recipe.yaml"):
        assert "evaluate: test" in place.read_text()


def test_the_better_half_on_the_validation_split_goes_on_and_the_baseline_always(finished):
    folder, _ = finished
    rungs = [read_study(str(folder / f"{name}.yaml")).study for name in ("rung-1", "rung-2", "final")]
    assert [len(one.cells) for one in rungs] == [4, 3, 2]
    assert all(next(iter(one.cells)) == BASELINE for one in rungs)
    for name, following in (("rung-1", rungs[1]), ("rung-2", rungs[2])):
        errors = validation_errors(folder, name)
        del errors[BASELINE]
        worst_kept = max(errors[kept] for kept in list(following.cells)[1:])
        assert all(error >= worst_kept for cell, error in errors.items() if cell not in following.cells)


def test_seeds_are_fresh_in_each_part_and_trainings_complete(finished):
    folder, _ = finished
    seeds = [
        seed for name in ("rung-1", "rung-2", "final") for seed in read_study(str(folder / f"{name}.yaml")).study.seeds
    ]
    assert len(set(seeds)) == len(seeds)
    for name, epochs in (("rung-1", 1), ("rung-2", 2), ("final", 4)):
        for place in (folder / name / "runs").glob("*/results.json"):
            assert json.loads(place.read_text())["epochs"] == epochs
        recipe = (folder / f"{name}.yaml").read_text()
        assert f"epochs: {epochs}" in recipe


def test_an_advice_that_is_there_is_read_and_nothing_is_trained(copied, held, monkeypatch):
    monkeypatch.setattr(running, "fit", lambda *a, **k: pytest.fail("trained again"))
    first = held(methods=THREE)
    write_advice(first)
    assert advice_values(first) == advice_values(held(methods=THREE))
    assert {path.name for path in copied.iterdir()} >= {
        "advice.yaml", "advice.json", "recipe.yaml", "report.md", "report.html", "rung-1.yaml", "rung-2.yaml",
        "final.yaml", "rung-1", "rung-2", "final",
    }  # fmt: skip
    assert not (copied / "measuring").exists()


def told(advice):
    """What an advice says, but for the time that it took."""
    values = advice_values(advice)
    for one in values["final"].values():
        del one["seconds"]
    return values


def test_a_tournament_that_was_stopped_ends_as_if_it_had_not_been(held, stopped, copied, tmp_path):
    whole = told(held(methods=THREE))
    tournament_files = {path.name: path.read_text() for path in copied.glob("*.yaml")}
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "advice.yaml").write_text(tournament_files["advice.yaml"])
    with stopped(13):  # in the second rung
        held(folder="again", methods=THREE)
    assert (folder / "rung-2.yaml").exists()
    assert not (folder / "final.yaml").exists()
    with stopped(12):  # in the final
        held(folder="again", methods=THREE)
    assert (folder / "final.yaml").exists()
    assert not (folder / "report.md").exists()
    assert told(held(folder="again", methods=THREE)) == whole
    assert {path.name: path.read_text() for path in folder.glob("*.yaml")} == tournament_files


def test_another_question_is_refused_and_nothing_is_lost(copied, held):
    before = (copied / "advice.yaml").read_text()
    with pytest.raises(LimbeckError, match=r"holds other advice \(epochs is 4 there and 5 here\): choose another"):
        held(methods=THREE, epochs=5)
    with pytest.raises(LimbeckError, match=r"holds other advice \(budget is 41.0 there and 200.0 here\)"):
        held(methods=THREE, budget="200s")
    assert (copied / "advice.yaml").read_text() == before


def test_a_damaged_plan_and_another_folder_are_refused(copied, held, tmp_path):
    (copied / "advice.yaml").write_text("question: 3\n")
    with pytest.raises(LimbeckError, match=r"advice.yaml is damaged: remove"):
        held(methods=THREE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("years of work")
    with pytest.raises(LimbeckError, match=r"holds other things \(thesis.tex\): choose another folder by --out"):
        held(folder="other", methods=THREE)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_what_a_killed_process_left_behind_is_no_hindrance(held, copied, tmp_path):
    folder = tmp_path / "killed"
    (folder / "measuring/runs").mkdir(parents=True)
    for name in (".lock", ".unfinished-advice.yaml-0123"):
        (folder / name).write_text("")
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        held(folder="killed", methods=THREE)
    assert not (folder / "measuring").exists()


def test_a_plan_of_another_version_is_refused(copied, held):
    path = copied / "advice.yaml"
    path.write_text(path.read_text().replace("tfkd_reg: {epoch", "tfkd_new: {epoch"))
    with pytest.raises(LimbeckError, match="of another version, with the candidate tfkd_new"):
        held(methods=THREE)


def test_the_plan_is_what_the_costs_and_the_budget_say(copied, question, held):
    planned = read_planned(copied, question(methods=THREE))
    assert planned.schedule.challengers == ("label_smoothing", "pskd", "tfkd_reg")
    assert [rung.epochs for rung in planned.schedule.rungs] == [1, 2]
    assert planned.examples == {"train": 60, "validation": 100, "test": 797}
    assert planned.schedule.total * 1.1 <= 41
    advice = held(methods=THREE)
    assert advice.planned == planned


def test_how_much_slower_it_was_is_told_by_the_runs(copied, held):
    advice = held(methods=THREE)
    took = thought = 0.0
    for name, epochs in (("rung-1", 1), ("rung-2", 2)):
        for place in (copied / name / "runs").glob("*/results.json"):
            took += json.loads(place.read_text())["seconds_of_last_session"]
            thought += 1.0 + epochs * 1.0
    assert slower(advice.planned, advice.rungs) == pytest.approx(took / thought)
    assert slower(advice.planned, []) == 1.0


def test_a_slow_machine_costs_seeds_of_the_final_and_it_is_said(held, monkeypatch):
    monkeypatch.setattr(tournament, "slower", lambda *arguments: 100.0)
    advice = held(methods="label_smoothing,pskd", seeds=3, budget="20s", epochs=1)
    assert len(advice.planned.schedule.seeds) == 3
    assert advice.final.study.seeds == list(advice.planned.schedule.seeds[:2])


def fail(monkeypatch, *names):
    """Let the training of runs fail whose names begin so."""
    real = running.fit

    def fit(*arguments, **named):
        if named["name"].startswith(names):
            raise RuntimeError("the disk is gone")
        return real(*arguments, **named)

    monkeypatch.setattr(running, "fit", fit)


def test_a_candidate_that_fails_is_out_for_good(held, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        fail(patch, "label_smoothing", "tfkd_reg-seed0")
        advice = held(methods=THREE, epochs=1, budget="25s")
    assert advice.rungs[0].failed.keys() == {"label_smoothing", "tfkd_reg"}
    assert "the disk is gone" in advice.rungs[0].failed["tfkd_reg"]
    assert [held.kept for held in advice.rungs] == [["pskd"], ["pskd"]]
    assert advice.challenger == "pskd"
    again = held(methods=THREE, epochs=1, budget="25s")  # where they would not fail any more
    assert not (tmp_path / "out/rung-1/runs/label_smoothing-seed0/results.json").exists()
    assert told(again) == told(advice)


def test_where_every_candidate_fails_it_is_plain_training(held, monkeypatch):
    fail(monkeypatch, "label_smoothing", "pskd")
    advice = held(methods="label_smoothing,pskd", epochs=1, budget="16s")
    assert (advice.recommended, advice.challenger, advice.judged) == (BASELINE, None, None)
    write_advice(advice)
    assert "nothing was tested" in (advice.folder / "report.md").read_text()


def test_without_the_baseline_there_is_no_advice(held, monkeypatch):
    fail(monkeypatch, BASELINE)
    with pytest.raises(LimbeckError, match="the baseline cannot be trained: RuntimeError: the disk is gone"):
        held(methods="label_smoothing,pskd", epochs=1, budget="16s")


def test_a_teacher_is_trained_once_and_serves_the_whole_tournament(held, tmp_path, monkeypatch):
    trained = []
    real = running.fit

    def fit(*arguments, **named):
        trained.append(named["name"])
        return real(*arguments, **named)

    monkeypatch.setattr(running, "fit", fit)
    advice = held(methods="kd,dekd", teacher="{name: cnn, width: 4}", epochs=2, budget="30s")
    assert trained.count("full-seed1000") == 1
    assert not any(name.startswith("short") for name in trained)
    runs = [made for by_seed in advice.final.runs.values() for made in by_seed.values()]
    teachers = {
        (made.folder / made.environment["teacher_run"]).resolve() for made in runs if made.environment["teacher"]
    }
    assert teachers == {(tmp_path / "out/teachers/runs/full-seed1000").resolve()}
    write_advice(advice)
    read_recipe(str(advice.folder / "recipe.yaml"))


@pytest.fixture
def rung(question, tmp_path):
    """Return a function that makes up the outcome of a rung: validation figures by candidate and seed."""

    def make(by_name, seeds=(0,), by="error", failures=()):
        recipe = {"data": {"source": "digits"}, "model": "cnn", "training": {"epochs": 2}}
        study = contest(question(), recipe, list(by_name), None, epochs=2, seeds=seeds, final=False)
        one = prepared("rung-1", study, tmp_path, "cpu", "")
        runs = {
            name: {
                seed: Made(Path("x"), {CANDIDATES[name].student: {"last": values}}, {})
                for seed, values in zip(seeds, figures, strict=True)
            }
            for name, figures in by_name.items()
        }
        outcome = Outcome("rung-1", study, one.cells, runs, dict.fromkeys(failures, "it failed"), [], "")
        stay = (len(by_name) - 1 - len({name.partition("-")[0] for name in failures}) + 1) // 2
        return halved(Rung(2, tuple(seeds), len(by_name) - 1, stay), outcome, by)

    return make


def figures(error, nll=1.0):
    return [{"error": error, "nll": nll}]


def test_the_lowest_figure_goes_on_and_the_baseline_is_not_ranked(rung):
    given = {
        BASELINE: figures(0.01), "label_smoothing": figures(0.3, 0.1), "pskd": figures(0.1, 0.5), "cskd": figures(0.2),
    }  # fmt: skip
    found = rung(given)
    assert (found.kept, found.out) == (["pskd", "cskd"], ["label_smoothing"])
    assert rung(given, by="nll").kept == ["label_smoothing", "pskd"]


def test_equal_figures_are_told_apart_by_the_nll_and_then_by_the_order(rung):
    found = rung({BASELINE: figures(0.2), "label_smoothing": figures(0.2, 0.9), "pskd": figures(0.2, 0.8)})
    assert found.kept == ["pskd"]
    found = rung({BASELINE: figures(0.2), "pskd": figures(0.2), "cskd": figures(0.2)})
    assert found.kept == ["pskd"]


def test_the_mean_over_the_seeds_decides(rung):
    two = {BASELINE: [0.2, 0.2], "pskd": [0.1, 0.4], "dml": [0.2, 0.2]}
    given = {name: [figures(error)[0] for error in errors] for name, errors in two.items()}
    assert rung(given, seeds=(3, 4)).kept == ["dml"]


def test_what_failed_or_has_no_number_is_out(rung):
    given = {BASELINE: figures(0.2), "pskd": figures(float("nan")), "cskd": figures(0.9), "dml": figures(0.1)}
    found = rung(given, failures=["dml-seed0"])
    assert (found.kept, found.out) == (["cskd"], [])
    assert found.failed == {"dml": "it failed", "pskd": "its error is not finite"}
    with pytest.raises(LimbeckError, match="the baseline cannot be trained: it failed"):
        rung(given, failures=[f"{BASELINE}-seed0"])


def decided_after(seconds, question, tmp_path, **changes):
    """Plan by known costs, where measuring them took so many seconds."""
    times = iter([100.0, 100.0 + seconds])
    with Display(silent=True) as display:
        bench = Bench(tmp_path / "m", "cpu", lambda study: Here(), display, clock=lambda: next(times))
        return decided(question(methods=THREE, **changes), bench, 1).schedule


def test_the_plan_depends_on_the_costs_and_on_what_is_left_of_the_budget(known_costs, question, tmp_path):
    first = decided_after(0.0, question, tmp_path)
    assert first == decided_after(0.0, question, tmp_path)
    assert first.total * 1.1 <= 41
    later = decided_after(10.0, question, tmp_path)
    assert later.total * 1.1 <= 31
    assert len(later.rungs) < len(first.rungs) == 2
    assert len(decided_after(15.0, question, tmp_path).challengers) < len(later.challengers) == 3
    assert decided_after(10.0, question, tmp_path, budget="51s") == first
    with pytest.raises(LimbeckError, match=r"^--budget 41s is too small: a final of 2 seeds with 4 epochs"):
        decided_after(30.0, question, tmp_path)


def test_the_budget_that_is_said_to_do_does(known_costs, question, tmp_path):
    with pytest.raises(LimbeckError) as found:
        decided_after(3.0, question, tmp_path, budget="4s")
    enough, everyone = re.findall(r"about (\d+s)", str(found.value))
    assert len(decided_after(3.0, question, tmp_path, budget=enough).seeds) == 2
    assert len(decided_after(3.0, question, tmp_path, budget=everyone).challengers) == 3
