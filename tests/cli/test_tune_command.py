"""`limbeck tune`: what it shows, what it leaves behind, and what it refuses."""

import csv
import sys

import pytest

SMALL = ("data.examples=60", "data.validation=100", "training.batch_size=30", "training.epochs=2", "model.width=2")
SEARCH = ("digits/label_smoothing", *SMALL, "--trials", "2", "--accelerator", "cpu")


def test_a_search_says_what_it_found_and_what_comes_next(done, limbeck, tmp_path):
    ran = done("tune", *SEARCH)
    folder = tmp_path / "tune/digits-label_smoothing"
    assert "digits/label_smoothing" in ran.out
    assert "the test set was not looked at" in ran.out
    first, last = ran.out.splitlines()[-2:]
    files = "report.html, report.md, trials.csv, best.yaml, baseline.yaml, compare.yaml"
    assert first == f"written: tune/digits-label_smoothing/{files}"
    command = "limbeck study tune/digits-label_smoothing/compare.yaml --out tune/digits-label_smoothing/compare"
    assert last == f"compare on fresh seeds: {command}"
    assert "trial 2 of 2: 1 of 1 runs to make" in ran.err
    assert "digits-label_smoothing-001: Top-1 error % on the validation split" in ran.err
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished", "finished"]
    for page in ("report.md", "report.html"):
        text = (folder / page).read_text()
        assert command in text
        assert f"limbeck tune {' '.join(SEARCH)}" in text
        assert "The test set was not used in choosing" in text
    # again: nothing is trained, and everything stays
    before = (folder / "report.md").read_text()
    again = done("tune", *SEARCH)
    assert "to make" not in again.err
    assert (folder / "report.md").read_text() == before
    # what is told to be next can be done
    dry = done(*command.split()[1:], "--dry").out
    assert "10 runs of 2 cells, 0 finished" in dry
    best = done("train", str(folder / "best.yaml"), "seed=3", "--folder", "runs/best")
    assert "runs/best" in best.out


def test_dry_shows_the_spaces_and_the_budget_and_runs_nothing(done, tmp_path):
    out = done("tune", "digits/kd", "digits/pskd", "digits/baseline", "--trials", "5", "--dry").out
    assert "method.alpha=0.05..0.95  method.temperature=1..20:log" in out
    assert "nothing to search" in out
    # 5 of each of two, one of the baseline, and the teacher, of 60 epochs each
    assert out.splitlines()[-1] == "to train: 11 runs and 1 earlier stage(s), each once, 720 epochs in all"
    assert not (tmp_path / "tune").exists()


def test_without_any_finished_trial_the_command_ends_with_1(limbeck, tmp_path):
    ran = limbeck("tune", "digits/baseline", *SMALL, "schedule.warmup=0", "optimiser.lr=1e12,1e13", "--trials", "2")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "limbeck: a recipe has no finished trial; the same command tries them again"
    assert "Traceback" not in ran.err
    report = (tmp_path / "tune/digits-baseline/report.md").read_text()
    assert "trial 1 of digits/baseline failed: " in report
    assert "compare on fresh seeds" not in ran.out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "Missing argument"),
        ("method.alpha=0.1..0.9", "name a recipe to search, such as: limbeck tune digits/kd"),
        ("digits/kdd", "there is no recipe 'digits/kdd'; did you mean 'digits/kd'?"),
        ("digits", "digits is a table: name one of its rows"),
        ("digits/kd digits/kd", "two of the recipes have the same name: name each once"),
        ("digits/kd method.alpah=0.1..0.9", "there is no field 'method.alpah'; did you mean 'method.alpha'?"),
        ("digits/kd method.alpha=0.9..0.1", "method.alpha=0.9..0.1: the range is empty"),
        ("digits/kd method.alpha=0.1..1.5", "method.alpha: must be at most 1; it is 1.5"),
        ("digits/kd method.temperature=0..9", "method.temperature: must be more than 0; it is 0"),
        ("digits/kd method.temperature=0..9:log", "method.temperature=0..9:log: only what is above 0 has a logarithm"),
        ("digits/kd method.temperature=1..", "method.temperature=1.. is no range: write LOW..HIGH"),
        ("digits/kd method.reduction=mean,meen", "method.reduction: must be 'batchmean' or 'mean'; it is 'meen'"),
        ("digits/kd training.batch_size=1.5..8", "training.batch_size: must be a whole number; it is 1.5"),
        ("digits/kd seed=0..9", "seed=0..9: seed is not searched: a search is over fields of method, matchers"),
        ("digits/kd training.epochs=5..9", "training.epochs is not searched"),
        ("digits/kd method=kd,pskd", "method=kd,pskd: method is not searched"),
        ("digits/pskd method.bank=ram,disk", "method.bank changes no result, and there is nothing to search"),
        ("digits/kd stages.teacher.optimiser.lr=0.1..1", "only the last stage, 'student', is searched"),
        ("digits/kd stages.techer.optimiser.lr=0.1..1", "only the last stage, 'student', is searched"),
        ("digits/kd method.alpha=0.1..0.9 method.alpha=0.2..0.9", "method.alpha has two ranges: give it one"),
        ("digits/kd method.alpha=0.1..0.9 method.alpha.value=0.2..0.9", "there is no field 'method.alpha.value'"),
        ("digits/kd method.alpha=2", "method.alpha: must be at most 1; it is 2"),
        ("digits/kd data.validation=0", "digits/kd has no validation split, on which a search chooses: hold one out"),
        ("digits/kd --by acuracy", "there is no figure 'acuracy'"),
        ("digits/kd --trials 0", "Invalid value for '--trials'"),
        ("digits/kd --jobs 2", "--jobs 2: the trials of a recipe follow each other, so at most 1 can run at a time"),
        ("digits/kd --trails 3", "No such option: --trails"),
    ],
)
def test_a_misuse_is_one_line_and_nothing_is_written(refused, tmp_path, words, reason):
    assert reason in refused("tune", *words.split())
    assert not list(tmp_path.iterdir())


def test_without_optuna_the_extra_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = refused("tune", "digits/kd")
    assert said == "a search needs optuna, which is not installed: pip install 'limbeck[tune]'"
    assert not list(tmp_path.iterdir())


def test_another_search_in_the_folder_is_refused(done, refused):
    done("tune", *SEARCH)
    said = refused("tune", *SEARCH, "method.epsilon=0.1..0.2")
    assert "tune/digits-label_smoothing holds another search (the range of digits-label_smoothing: " in said
    assert "choose another folder by --out, or remove this one" in said
