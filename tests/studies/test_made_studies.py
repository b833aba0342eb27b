"""Studies that are made: their files, resuming, failures."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from limbeck.core import LimbeckError
from limbeck.report.study import progress_of, report
from limbeck.studies import account
from limbeck.studies import make as making
from limbeck.studies.make import outline, prepare
from limbeck.studies.outcome import Outcome
from limbeck.train import run as running


def stamps(folder):
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/results.json")}


def test_a_study_is_made_judged_and_written(made, tmp_path):
    outcome = made()
    folder = tmp_path / "out"
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "baseline-seed0", "baseline-seed1", "smooth-seed0", "smooth-seed1",
    ]  # fmt: skip
    for place in (folder / "runs").iterdir():
        assert json.loads((place / "environment.json").read_text())["threads"] == 1
    results = pd.read_csv(folder / "results.csv")
    assert len(results) == 4 * 2  # last and best
    last = results[results.weights == "last"].pivot(index="seed", columns="cell", values="error")
    difference = last["smooth"] - last["baseline"]
    claims = pd.read_csv(folder / "verdicts.csv")
    assert list(claims.verdict) == [one.verdict.decision for one in outcome.judged]
    assert claims.difference[0] == pytest.approx(difference.mean())
    assert claims.p[0] == pytest.approx(stats.ttest_1samp(difference, 0.0).pvalue)
    whole = json.loads((folder / "study.json").read_text())
    assert whole["command"] == "limbeck study s.yaml"
    assert whole["study"]["seeds"] == [0, 1]
    assert whole["cells"]["smooth"]["runs"] == {"0": "finished", "1": "finished"}
    assert whole["claims"][0]["differences"] == pytest.approx({str(s): v for s, v in difference.items()})
    assert set(whole["claims"][0]["mcnemar"]) == {"0", "1"}
    assert whole["versions"]["scipy"]


def test_a_finished_study_trains_nothing_again_and_more_seeds_train_these_alone(made, tmp_path, monkeypatch):
    made()
    before = stamps(tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(running, "fit", lambda *a, **k: pytest.fail("trained again"))
        made()
    outcome = made("cells: {baseline: {method: cross_entropy}, smooth: {method: label_smoothing}}\nseeds: 3\n")
    after = stamps(tmp_path / "out")
    assert before.items() <= after.items()
    assert len(after) == 6
    assert outcome.judged == []


def test_a_shared_teacher_is_trained_once(made, tmp_path):
    recipe = (
        "recipe:\n  data: {source: digits, examples: 60}\n  model: {name: cnn, width: 2}\n  method: kd\n"
        "  training: {epochs: 1, batch_size: 30}\n"
        "  stages:\n    teacher: {model: {name: cnn, width: 4}, method: cross_entropy}\n"
        "    student: {teacher: {stage: teacher}}\n"
    )
    text = "axes: {t: {field: stages.student.method.temperature, values: [1.0, 4.0]}}\nseeds: 2\n"
    made(text, recipe=recipe)
    assert len(list((tmp_path / "out/runs/stages").iterdir())) == 2
    assert len(stamps(tmp_path / "out")) == 4


def test_one_seed_makes_no_test_and_says_so(made):
    outcome = made("cells: {a: {}, b: {method: pskd}}\nseeds: 1\nclaims: [error(b) < error(a)]\n")
    (one,) = outcome.judged
    assert (one.verdict.decision, one.verdict.measured) == ("undecided", None)
    assert one.verdict.why == "one seed only: no test is made"
    text = report(outcome)
    assert "one seed only: no test is made" in text
    assert "With one seed there is no spread to compare with" in text


FAILING = """
cells:
  baseline: {method: cross_entropy}
  wild: {optimiser: {name: sgd, lr: 1e12}, training.epochs: 3}
  smooth: {method: label_smoothing}
seeds: 2
claims: [error(wild) < error(baseline), error(smooth) < error(baseline)]
"""


def test_a_cell_that_fails_costs_itself_alone(made, tmp_path):
    outcome = made(FAILING)
    assert set(outcome.failures) == {"wild-seed0", "wild-seed1"}
    assert "NaN or infinite" in outcome.failures["wild-seed0"]
    lost, kept = outcome.judged
    assert (lost.verdict.decision, lost.verdict.corrected) == ("undecided", None)
    assert lost.verdict.why.startswith("not decided: cell wild failed")
    assert kept.verdict.measured is not None
    assert kept.verdict.corrected == kept.verdict.measured.p  # nothing to correct for
    assert (tmp_path / "out/failures/wild-seed0.txt").exists()
    assert "## Failed runs" in report(outcome)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "ran out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 3 GiB\n\nmore"), "ran out of memory: CUDA out of memory"),
        (KeyError("layer9"), "KeyError: 'layer9'"),
        (LimbeckError("the data are gone"), "the data are gone"),
    ],
)
def test_whatever_a_run_raises_is_recorded_and_tried_again(made, tmp_path, monkeypatch, error, said):
    real = running.fit

    def failing(*arguments, **named):
        if named["name"] == "smooth-seed1":
            raise error
        return real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(running, "fit", failing)
        outcome = made()
    assert list(outcome.failures) == ["smooth-seed1"]
    assert outcome.failures["smooth-seed1"].startswith(said)
    kept = (tmp_path / "out/failures/smooth-seed1.txt").read_text()
    assert ("Traceback" in kept) == (not isinstance(error, LimbeckError))
    assert {one.verdict.why for one in outcome.judged} == {"not decided: cell smooth failed (run smooth-seed1)"}
    again = made()
    assert again.failures == {}
    assert all(one.verdict.measured for one in again.judged)
    assert not list((tmp_path / "out/failures").iterdir())


def test_what_there_is_is_written_as_runs_end(made, tmp_path, monkeypatch):
    monkeypatch.setattr(account, "PATIENCE", 0)
    seen = []

    def publish(outcome):
        whole = json.loads((tmp_path / "out/study.json").read_text())
        states = [state for cell in whole["cells"].values() for state in cell["runs"].values()]
        seen.append((states.count("finished"), outcome.judged[0].verdict.why, progress_of(outcome)[:24]))
        assert pd.read_csv(tmp_path / "out/verdicts.csv", keep_default_na=False).why[0] == seen[-1][1]

    made(publish=publish)
    waiting = "not decided: cell {} has no finished run of seed {}"
    assert seen == [
        (1, waiting.format("smooth", 0), "1 of 4 runs are finished"),
        (2, waiting.format("smooth", 1), "2 of 4 runs are finished"),
        (3, waiting.format("smooth", 1), "3 of 4 runs are finished"),
        (4, "", ""),
    ]


def test_writing_takes_a_twentieth_of_the_time_at_most(written, tmp_path, monkeypatch):
    study = prepare(written(), tmp_path / "out", [], None, "cpu", "")
    now, at = [0.0], []

    def write():
        at.append(now[0])
        now[0] += 1.5
        return Outcome("s", study.study, study.cells, {}, {}, [], "")

    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])
    page = account.Account(write)
    for _ in range(2000):
        assert page.renew() == (bool(at) and at[-1] == now[0] - 1.5)
        now[0] += 0.25
    assert np.diff(at) == pytest.approx(31.5)  # 1.5 to write, and 30 of rest
    page.write()  # at the end in any case
    assert at[-1] == now[0] - 1.5


def test_an_interruption_is_no_failure_and_what_there_is_is_written(made, tmp_path, monkeypatch):
    real = running.fit
    seen = []

    def stopping(*arguments, **named):
        if named["name"] == "smooth-seed1":
            raise KeyboardInterrupt
        if named["name"] == "smooth-seed0":
            raise LimbeckError("no")
        return real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(running, "fit", stopping)
        with pytest.raises(KeyboardInterrupt):
            made(publish=lambda outcome: seen.append(progress_of(outcome)))
    assert seen[-1].startswith("2 of 4 runs are finished, 1 failed, 1 is still to be made.")
    whole = json.loads((tmp_path / "out/study.json").read_text())
    assert whole["cells"]["smooth"]["runs"] == {"0": "no", "1": "not finished"}
    assert (tmp_path / "out/failures/smooth-seed0.txt").exists()
    # stopped again, before the failed run was tried: why it failed is kept
    monkeypatch.setattr(running, "fit", lambda *arguments, **named: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made()
    assert (tmp_path / "out/failures/smooth-seed0.txt").exists()
    monkeypatch.setattr(running, "fit", real)
    made(publish=lambda outcome: seen.append(progress_of(outcome)))
    assert seen[-1] == ""
    assert not list((tmp_path / "out/failures").iterdir())


def test_a_changed_study_does_not_take_the_old_runs(made, tmp_path):
    made()
    before = (tmp_path / "out/study.json").read_text()
    changed = "cells: {baseline: {method: cross_entropy}, smooth: {method: {name: label_smoothing, epsilon: 0.3}}}\n"
    with pytest.raises(
        LimbeckError, match=r"smooth-seed0 holds another run \(method.epsilon is 0.1 there and 0.3 here"
    ):
        made(changed + "seeds: 2\n")
    assert (tmp_path / "out/study.json").read_text() == before
    made(changed.replace("epsilon: 0.3", "epsilon: 0.1") + "seeds: 2\n")


def test_what_changes_no_result_changes_no_run(made, tmp_path):
    made()
    before = stamps(tmp_path / "out")
    made("cells: {baseline: {method: cross_entropy}, smooth: {method: label_smoothing}}\nseeds: 2\naxes: {}\n",
         recipe="recipe:\n  data: {source: digits, examples: 60, validation: 100, workers: 1}\n"
         "  model: {name: cnn, width: 2}\n  training: {epochs: 2, batch_size: 30}\n")  # fmt: skip
    assert stamps(tmp_path / "out") == before


def test_without_pairing_the_test_is_welchs(made, tmp_path):
    text = "cells: {a: {}, b: {method: pskd}}\nseeds: 3\npairing: none\nclaims: [nll(b) < nll(a) + 0.01]\n"
    outcome = made(text)
    results = pd.read_csv(tmp_path / "out/results.csv")
    a, b = (results[(results.weights == "last") & (results.cell == cell)].nll.to_numpy() for cell in "ab")
    assert outcome.judged[0].verdict.measured.p == pytest.approx(stats.ttest_ind(b, a + 0.01, equal_var=False).pvalue)


def test_several_students_have_figures_of_their_own(made):
    text = (
        "cells: {alone: {}, pair: {peers: [{name: cnn, width: 4}], method: dml}}\nseeds: 2\n"
        "claims: [student-0:error(pair) < error(alone), best:ensemble:nll(pair) < best:nll(alone)]\n"
    )
    outcome = made(text)
    assert all(one.verdict.measured and one.examples for one in outcome.judged)
    assert "| pair, ensemble | 2 |" in report(outcome)


def test_the_outline_counts_what_is_left(written, made, tmp_path):
    def outlined():
        return outline(prepare(written(), tmp_path / "out", [], None, "cpu", ""))

    rows, text = outlined()
    assert [row["finished"] for row in rows] == ["0 of 2", "0 of 2"]
    assert text == "4 runs of 2 cells, 0 finished; to train: 4 runs, 8 epochs in all"
    made("cells: {baseline: {method: cross_entropy}}\nseeds: 2\n")
    rows, text = outlined()
    assert [row["finished"] for row in rows] == ["2 of 2", "0 of 2"]
    assert text == "4 runs of 2 cells, 2 finished; to train: 2 runs, 4 epochs in all, about 1 min in one process"


def test_the_outline_does_not_count_stages_that_are_there(written, made, tmp_path):
    recipe = (
        (
            "recipe:\n  data: {source: digits, examples: 60}\n  model: {name: cnn, width: 2}\n  method: kd\n"
            "  training: {epochs: 1, batch_size: 30}\n"
            "  stages:\n    teacher: {model: {name: cnn, width: 8}, method: cross_entropy, training.epochs: 5}\n"
            "    assistant: {model: {name: cnn, width: 4}, teacher: {stage: teacher}, training.epochs: 3}\n"
            "    student: {teacher: {stage: assistant}}\n"
        )
        .replace("training.epochs: 5", "training: {epochs: 5}")
        .replace("training.epochs: 3", "training: {epochs: 3}")
    )
    text = "axes: {t: {field: stages.student.method.temperature, values: [1.0, 4.0]}}\nseeds: 2\n"

    def outlined(change=lambda recipe: recipe):
        written(text, recipe=change(recipe))
        return outline(prepare("s.yaml", tmp_path / "out", [], None, "cpu", ""))[1]

    told = "4 runs of 2 cells, 0 finished; to train: 4 runs and {} earlier stage(s), each once, {} epochs in all"
    assert outlined() == told.format(4, 4 + 2 * (5 + 3))
    made(text, recipe=recipe)
    for run in (tmp_path / "out/runs").glob("t=*-seed*"):
        shutil.rmtree(run)
    assert outlined() == "4 runs of 2 cells, 0 finished; to train: 4 runs, 4 epochs in all"
    # of another teacher the assistant is another one
    assert outlined(lambda recipe: recipe.replace("width: 8", "width: 9")) == told.format(4, 4 + 2 * (5 + 3))
    (assistant, _) = sorted((tmp_path / "out/runs/stages").glob("assistant-*"))
    (assistant / "recipe.yaml").write_text("{")
    assert outlined() == told.format(1, 4 + 3)


def test_damaged_results_are_named(made, tmp_path):
    made()
    (tmp_path / "out/runs/smooth-seed0/results.json").write_text("{")
    with pytest.raises(LimbeckError, match="results.json is damaged"):
        made()


def test_the_report_tells_all(made):
    outcome = made(
        "description: Does it help?\ncells: {a: {}, b: {method: pskd}}\nseeds: 2\n"
        "claims: [{claim: error(b) < error(a), source: table 9, says: B errs less}, nll(a) > 100]\n"
    )
    text = report(outcome)
    for part in (
        "# s\n", "Does it help?", "`limbeck study s.yaml`", "| error(b) < error(a) | undecided |", "contradicted",
        "paired t-tests over seeds, two-sided, Holm's correction", "B errs less (claimed by table 9).",
        "Undecided is no evidence", "## Figures, last weights", "## Figures, best weights", "McNemar", "seeds: 0, 1",
        "threads a run: 1", "scipy",
    ):  # fmt: skip
        assert part.lower() in text.lower(), part
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| a | 2 |")]
    values = np.array([made_run.students["student"]["last"]["nll"] for made_run in outcome.runs["a"].values()])
    half = stats.t.interval(0.95, 1, values.mean(), stats.sem(values))[1] - values.mean()
    assert f"{values.mean():.3f} ± {half:.3f}" in rows[0]


def test_two_cannot_make_one_study(made, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()

    def busy(folder, runtime):
        raise LimbeckError(f"another process is writing {folder}; wait for it or choose another folder")

    monkeypatch.setattr(making, "held", busy)
    with pytest.raises(LimbeckError, match="another process is writing"):
        made()
    assert not (tmp_path / "out/study.json").exists()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("data.source: {name: image_folder, root: nowhere}", "wide-seed0: nowhere/train: no such folder"),
        ("stages: {teacher: {model: cnn, method: cross_entropy}, student: {method: kd, teacher: {stage: teacher}, "
         "data: {classes: 5}}}", "wide-seed0: stage 'student' learns 5 classes, its teacher 'teacher' 10, or others"),
        ("data.classes: 30", "wide-seed0: data.classes is 30, but digits has 10: lower it"),
    ],
)  # fmt: skip
def test_what_no_run_could_do_is_refused_before_anything_is_written(made, tmp_path, cell, reason):
    text = f"cells: {{narrow: {{}}, wide: {{{cell}}}}}\nseeds: 1\n"
    with pytest.raises(LimbeckError) as told:
        made(text)
    assert str(told.value).startswith(reason)
    assert not (tmp_path / "out").exists()


def test_data_are_not_asked_for_where_nothing_is_left_to_train(made, monkeypatch):
    made()
    monkeypatch.setattr(making, "check_sources", lambda plans: pytest.fail("read") if plans else None)
    made()


def test_a_folder_of_something_else_is_left_alone(made, written, tmp_path):
    made("cells: {a: {}}\nseeds: 1\n")
    before = (tmp_path / "out/study.json").read_text()
    written("cells: {a: {}, b: {method: pskd}}\nseeds: 1\n", name="other.yaml")
    other = prepare("other.yaml", tmp_path / "out", [], None, "cpu", "")
    with pytest.raises(LimbeckError, match=r"out is the folder of another study \(s, and this is other\): choose"):
        outline(other)
    with pytest.raises(LimbeckError, match=r"is the folder of a run \(environment.json\): choose another one"):
        made(folder="out/runs/a-seed0")
    (tmp_path / "search").mkdir()
    (tmp_path / "search/tune.json").write_text("{}")
    with pytest.raises(LimbeckError, match=r"search is the folder of a search \(tune.json\): choose another one"):
        made(folder="search")
    assert [path.name for path in (tmp_path / "search").iterdir()] == ["tune.json"]
    assert (tmp_path / "out/study.json").read_text() == before
