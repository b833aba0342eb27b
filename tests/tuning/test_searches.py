"""Searches that are made: what they find, what they leave behind, and that a stopped one ends as one that was not."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from limbeck.core import LimbeckError
from limbeck.metrics import summary
from limbeck.recipes import read_recipe
from limbeck.report.tune import cautions, notes_of, winners_table
from limbeck.studies.make import prepare as prepare_study
from limbeck.train import run as running
from limbeck.tuning.make import left, outline
from limbeck.tuning.results import runnable


@pytest.fixture
def fitted(monkeypatch):
    """Return the list of the names of all trainings from here on."""
    names, fit = [], running.fit

    def counted(*arguments, **named):
        names.append(named["name"])
        return fit(*arguments, **named)

    monkeypatch.setattr(running, "fit", counted)
    return names


def test_a_search_finds_what_is_known_to_be_best(searched, tmp_path):
    outcome = searched("baseline", "optimiser.lr=1e-9,1e-7,0.3", "training.epochs=8", trials=5)
    (label,) = outcome.trials
    assert outcome.best(label).values == {"optimiser.lr": 0.3}
    # the three points of the space, and no more
    assert sorted(trial.values["optimiser.lr"] for trial in outcome.trials[label]) == [1e-9, 1e-7, 0.3]
    assert read_recipe(str(tmp_path / "out/best.yaml")).student.optimiser.lr == 0.3
    (row,) = winners_table(outcome)
    assert row["as written"] == "–"
    assert notes_of(outcome, outcome.prepared.searches[0]) == [
        "the space of t.yaml/baseline has 3 points, and each was tried once"
    ]


def test_figures_are_of_the_last_weights_on_the_validation_split(searched, tmp_path):
    outcome = searched("smooth", trials=2, by="nll")
    for trial in outcome.trials["t-smooth"]:
        folder = tmp_path / f"out/trials/t-smooth-{trial.number:03d}"
        line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        assert trial.figure == pytest.approx(line["validation/nll"], rel=1e-6)
    table = pd.read_csv(tmp_path / "out/trials.csv")
    assert list(table.columns) == ["recipe", "trial", "state", "validation_nll", "method.epsilon", "why"]
    assert list(table.validation_nll) == [trial.figure for trial in outcome.trials["t-smooth"]]


def test_nothing_of_the_test_set_is_read_in_choosing(searched, tmp_path, monkeypatch):
    first = searched("smooth pskd", trials=2)
    real = running.finish

    def finished(job, state, folder, *rest):
        """Turn everything that a run says of the test set upside down."""
        found = real(job, state, folder, *rest)
        if folder.name.startswith("t-"):
            with np.load(folder / "predictions.npz") as file:
                arrays = dict(file)
            arrays |= {name: -arrays[name] for name in ("logits", "best_logits")}
            np.savez(folder / "predictions.npz", **arrays)
            wrong = json.dumps(found).replace("0.", "1.")
            (folder / "results.json").write_text(wrong)
        return found

    monkeypatch.setattr(running, "finish", finished)
    assert searched("smooth pskd", trials=2, folder="upside-down").trials == first.trials
    for name in ("trials.csv", "best-t-smooth.yaml", "best-t-pskd.yaml", "compare.yaml"):
        assert (tmp_path / "upside-down" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_first_trial_is_the_recipe_as_written_and_the_rest_differ(searched):
    outcome = searched("smooth")
    (search,) = outcome.prepared.searches
    values = [trial.values["method.epsilon"] for trial in outcome.trials["t-smooth"]]
    assert values[0] == 0.1
    assert len(set(values)) == 3
    assert outcome.as_written(search).number == 1


def test_the_same_command_gives_the_same_trials(searched, tmp_path):
    searched("smooth", trials=2, folder="a")
    searched("smooth", trials=2, folder="b")
    for name in ("trials.csv", "best.yaml", "compare.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_recipes_that_are_searched_side_by_side_give_the_same_trials(searched, tmp_path):
    searched("smooth pskd", trials=2, folder="a")
    searched("smooth pskd", trials=2, folder="b", jobs=2)
    assert (tmp_path / "a/trials.csv").read_bytes() == (tmp_path / "b/trials.csv").read_bytes()


def test_a_search_that_was_stopped_ends_as_one_that_was_not(searched, stopped, prepared, tmp_path):
    searched("kd smooth", folder="whole")
    # of 2 epochs of 2 steps each: in the teacher, in the second run of the first round, and in the second round
    for steps, rounds in ((2, 3), (8, 3), (5, 2)):
        with stopped(steps):
            searched("kd smooth")
        assert left(prepared("kd smooth")) == rounds
    searched("kd smooth")
    for name in ("trials.csv", "best-t-kd.yaml", "best-t-smooth.yaml", "compare.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_trials_go_on_with_a_search_and_train_nothing_again(searched, prepared, fitted):
    first = searched("smooth", trials=2)
    assert len(fitted) == 2
    assert searched("smooth", trials=2).trials == first.trials
    assert len(fitted) == 2
    more = searched("smooth", trials=4)
    assert len(fitted) == 4
    assert more.trials["t-smooth"][:2] == first.trials["t-smooth"]
    assert left(prepared("smooth", trials=4)) == 0
    with pytest.raises(LimbeckError, match="out has 4 trials already: give --trials 4 or more"):
        searched("smooth", trials=3)


@pytest.mark.parametrize(
    ("rows", "settings", "named", "reason"),
    [
        (
            "smooth",
            ["method.epsilon=0.1..0.2"],
            {},
            r"the range of t-smooth: method.epsilon is 0.01..0.3 there and 0.1",
        ),
        ("smooth", ["optimiser.lr=0.1..0.2"], {}, r"the range of t-smooth: optimiser.lr is None there and 0.1..0.2"),
        ("smooth", ["training.epochs=3"], {}, r"t-smooth: training.epochs is 2 there and 3 here"),
        ("smooth", [], {"by": "nll"}, r"--by is error there and nll here"),
        ("smooth pskd", [], {}, r"recipes is t-smooth there and t-smooth t-pskd here"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(searched, tmp_path, rows, settings, named, reason):
    searched("smooth", trials=1)
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    with pytest.raises(LimbeckError, match=f"out holds another search .{reason}.*: choose another folder by --out"):
        searched(rows, *settings, trials=1, **named)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}


def test_a_damaged_record_is_said(searched, tmp_path):
    searched("smooth", trials=1)
    (tmp_path / "out/tune.json").write_text('{"by": "error"}')
    with pytest.raises(LimbeckError, match=r"tune.json is damaged; remove its folder and search again"):
        searched("smooth", trials=1)


def test_a_shared_teacher_is_trained_once(searched, fitted, tmp_path):
    outcome = searched("kd at", trials=2)
    assert fitted.count("teacher") == 1
    assert len(fitted) == 1 + 2 * 2
    assert len(list((tmp_path / "out/trials/stages").iterdir())) == 1
    _, text = outline(outcome.prepared)
    assert text == "to train: 0 runs, 0 epochs in all"


def test_a_teacher_that_is_there_already_is_not_counted_again(searched, prepared, tmp_path):
    searched("kd", trials=1)
    (tmp_path / "out/tune.json").unlink()
    shutil.rmtree(tmp_path / "out/trials/t-kd-001")
    assert outline(prepared("kd", trials=1))[1] == "to train: 1 runs, 2 epochs in all"


def test_a_folder_of_something_else_and_data_that_are_missing_are_refused(searched, table, tmp_path):
    (tmp_path / "studied").mkdir()
    (tmp_path / "studied/study.json").write_text("{}")
    with pytest.raises(LimbeckError, match=r"studied is the folder of a study \(study.json\): choose another one"):
        searched("smooth", folder="studied")
    assert [path.name for path in (tmp_path / "studied").iterdir()] == ["study.json"]
    with pytest.raises(LimbeckError, match=r"t.yaml/smooth: data/cifar-100-python is missing"):
        searched("smooth", "data.source=cifar100", folder="gone")
    assert not (tmp_path / "gone").exists()


def test_every_recipe_gets_the_same_budget(searched, fitted):
    outcome = searched("smooth pskd baseline", "optimiser.lr=0.01..0.3:log", trials=2)
    assert {label: len(trials) for label, trials in outcome.trials.items()} == {
        "t-smooth": 2, "t-pskd": 2, "t-baseline": 2,
    }  # fmt: skip
    # round by round, so that a search that stops has treated all alike
    assert fitted == [f"t-{row}-{n:03d}" for n in (1, 2) for row in ("smooth", "pskd", "baseline")]
    assert not [text for text in cautions(outcome) if "disadvantage" in text]


def test_what_has_nothing_to_search_is_run_once_and_said(searched):
    outcome = searched("baseline smooth", trials=2)
    assert [len(trials) for trials in outcome.trials.values()] == [1, 2]
    (note,) = notes_of(outcome, outcome.prepared.searches[0])
    assert "has no hyper-parameters of its own: one run, as written" in note


def test_unequal_budgets_and_other_images_are_refused(prepared, table, tmp_path):
    text = (tmp_path / "t.yaml").read_text()
    longer = text + "  longer: {method: pskd, training: {epochs: 3}}\n  other: {method: pskd, data: {examples: 50}}\n"
    (tmp_path / "t.yaml").write_text(longer + "  whole: {method: pskd, data: {validation: 0}}\n")
    with pytest.raises(LimbeckError, match="t.yaml/smooth trains for 2 epochs and t.yaml/longer for 3: give both the"):
        prepared("smooth longer")
    assert prepared("smooth longer", "training.epochs=3")
    with pytest.raises(LimbeckError, match=r"t.yaml/other have other data \(data.examples is 60 and 50\)"):
        prepared("smooth other")
    with pytest.raises(
        LimbeckError, match="t.yaml/whole has no validation split, .*: hold one out, by data.validation="
    ):
        prepared("whole")


def test_a_failed_trial_is_recorded_and_the_search_goes_on(searched, fitted, tmp_path):
    outcome = searched("baseline", "optimiser.lr=0.1,1e30", trials=3)
    trials = outcome.trials["t-baseline"]
    assert [trial.state for trial in trials] == ["finished", "failed"]
    assert "NaN or infinite" in trials[1].why
    assert outcome.best("t-baseline") == trials[0]
    assert "NaN or infinite" in (tmp_path / "out/failures/t-baseline-002.txt").read_text()
    assert pd.read_csv(tmp_path / "out/trials.csv").state.tolist() == ["finished", "failed"]
    # it counts, and is not tried again
    assert searched("baseline", "optimiser.lr=0.1,1e30", trials=3).trials == outcome.trials
    assert len(fitted) == 2


def test_without_any_finished_trial_there_is_no_best_recipe_and_all_are_tried_again(searched, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(running, "fit", lambda *arguments, **named: (_ for _ in ()).throw(OSError("the disk is full")))
        outcome = searched("smooth", trials=2)
    assert outcome.best("t-smooth") is None
    assert not (tmp_path / "out/best.yaml").exists()
    assert not (tmp_path / "out/compare.yaml").exists()
    notes = notes_of(outcome, outcome.prepared.searches[0])
    assert "trial 2 of t.yaml/smooth failed: OSError: the disk is full" in notes
    assert "t.yaml/smooth has no finished trial: the same command tries them again" in notes
    again = searched("smooth", trials=2)
    assert [trial.state for trial in again.trials["t-smooth"]] == ["finished", "finished"]


def test_values_that_are_refused_together_are_a_failed_trial(searched, table, tmp_path):
    settings = ["method.ensemble=naive,minlogit", "method.per=batch,sample"]
    (tmp_path / "t.yaml").write_text(
        (tmp_path / "t.yaml").read_text() + "  kdcl: {method: {name: kdcl, ensemble: naive}, peers: [cnn]}\n"
    )
    outcome = searched("kdcl", *settings, "method.weight=1.0", "method.temperature=2.0", trials=5)
    failed = [trial for trial in outcome.trials["t-kdcl"] if trial.why is not None]
    assert len(outcome.trials["t-kdcl"]) == 4
    assert {(trial.values["method.ensemble"], trial.values["method.per"]) for trial in failed} == {
        ("minlogit", "batch")
    }
    assert "per means nothing to the minlogit ensemble" in failed[0].why


@pytest.mark.parametrize("row", ["smooth", "kd", "at", "again", "dml"])
def test_the_best_recipe_is_the_trial_and_follows_the_seed(told, tmp_path, row):
    outcome = told(row)
    (search,) = outcome.prepared.searches
    best = outcome.best(search.label)
    written = read_recipe(str(tmp_path / "out/best.yaml"))
    planned = search.planned(best.values)
    last = list(planned.stages)[-1]
    assert written.plain(last) == planned.plain(last)
    # other seeds are those that the recipe itself has then
    other, own = read_recipe(str(tmp_path / "out/best.yaml"), ["seed=9"]), read_recipe(f"t.yaml/{row}", ["seed=9"])
    assert {name: stage.seed for name, stage in other.stages.items()} == {
        name: stage.seed for name, stage in own.stages.items()
    }
    assert runnable(search.base).get("generations") == (3 if row == "again" else None)


def test_of_several_students_the_first_one_counts(searched, tmp_path):
    outcome = searched("dml", trials=1)
    with np.load(tmp_path / "out/trials/t-dml-001/predictions-0.npz") as arrays:
        error = summary(arrays["validation_logits"], arrays["validation_labels"])["error"]
    assert outcome.trials["t-dml"][0].figure == error


@pytest.mark.parametrize(
    ("rows", "settings", "cells", "claims"),
    [
        (
            "kd smooth baseline", [], ["t-baseline", "t-kd", "t-smooth"],
            ["error(t-kd) < error(t-baseline)", "error(t-smooth) < error(t-baseline)"],
        ),
        ("dml", [], ["baseline", "t-dml"], ["student-0:error(t-dml) < error(baseline)"]),
        (
            "baseline", ["optimiser.lr=0.01..0.2"], ["as-written", "t-baseline"],
            ["error(t-baseline) < error(as-written)"],
        ),
        ("baseline", [], [], []),
    ],
)  # fmt: skip
def test_the_best_recipes_go_into_a_study_of_fresh_seeds(told, tmp_path, rows, settings, cells, claims):
    told(rows, *settings)
    file = tmp_path / "out/compare.yaml"
    if not cells:
        assert not file.exists()
        return
    found = prepare_study(str(file), None, [], None, "cpu", "")
    assert [cell.name for cell in found.cells] == cells
    assert found.study.seeds == [1, 2, 3, 4, 5]
    assert [claim.text for claim in found.claims][: len(claims)] == claims
    assert len(found.claims) == len(claims) + (len(rows.split()) == 3)


def test_a_baseline_that_was_not_searched_is_said_to_be_at_a_disadvantage(told):
    outcome = told("smooth", "optimiser.lr=0.1..0.3")
    assert any("The baseline of the study has optimiser.lr as written" in text for text in cautions(outcome))


def test_at_a_scale_networks_are_ranked_among_those_of_all_recipes(prepared, tmp_path):
    (tmp_path / "t.yaml").write_text(
        (tmp_path / "t.yaml").read_text() + "  wide: {method: pskd, model: {name: cnn, width: 32}}\n"
        "  slim: {method: pskd, model: {name: cnn, width: 16}}\n"
    )

    def widths(rows):
        return [search.stage["model"]["width"] for search in prepared(rows, "scale=tiny").searches]

    assert widths("wide") == widths("slim") == [4]
    assert widths("wide slim") == [8, 4]


def test_a_reference_says_what_was_tuned(told, tmp_path):
    text = (tmp_path / "t.yaml").read_text()
    (tmp_path / "t.yaml").write_text(f"{text}  known: {{method: pskd, reference: {{source: a table, error: 5.0}}}}\n")
    outcome = told("known")
    (search,) = outcome.prepared.searches
    assert search.planned(search.own).reference == {"source": "a table", "error": 5.0}
    changed = f"method.alpha={outcome.best('t-known').values['method.alpha']}"
    assert read_recipe(str(tmp_path / "out/best.yaml")).reference["changed"] == [changed]
