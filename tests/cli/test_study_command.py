"""`limbeck study`: what it shows, and what it refuses."""

import re
import sys

import pytest

STUDY = """
recipe: digits/baseline
cells:
  baseline: {}
  smooth: {method: label_smoothing}
seeds: [0, 1]
claims: [error(smooth) < error(baseline)]
"""
CHANGES = ("data.examples=60", "data.validation=100", "training.batch_size=30", "training.epochs=2", "model.width=2")


@pytest.fixture
def study(tmp_path):
    def write(text=STUDY):
        (tmp_path / "s.yaml").write_text(text)
        return "s.yaml"

    return write


def test_a_study_says_what_it_found_and_where_it_is(study, done, tmp_path):
    ran = done("study", study(), *CHANGES)
    assert "error(smooth) < error(baseline)" in ran.out
    assert (
        ran.out.splitlines()[-1] == "written: studies/s/report.html, report.md, study.json, results.csv, verdicts.csv"
    )
    page = (tmp_path / "studies/s/report.html").read_text()
    assert "error(smooth) &lt; error(baseline)" in page
    assert re.search(r"s: 4 of 4 runs to make\n.*s: epoch 8/8", ran.err, re.DOTALL)
    report = (tmp_path / "studies/s/report.md").read_text()
    assert f"`limbeck study s.yaml {' '.join(CHANGES)}`" in report
    again = done("study", "s.yaml", *CHANGES, "--tables", "tables")
    assert "to make" not in again.err
    assert again.out.splitlines()[-1].startswith(
        "written into tables: results.csv, results.tex, claims.csv, claims.tex"
    )
    assert (tmp_path / "tables/claims.tex").exists()
    assert done("study", "s.yaml", *CHANGES, "--dry").out.splitlines()[-1].startswith("4 runs of 2 cells, 4 finished")


def test_dry_lists_the_cells_and_runs_nothing(study, done, tmp_path):
    ran = done("study", study(), "--dry", "--scale", "tiny")
    assert re.search(r"smooth +student +4 +0 of 2", ran.out)
    assert "4 runs of 2 cells, 0 finished; to train: 4 runs, 16 epochs in all" in ran.out
    assert not (tmp_path / "studies").exists()


def test_failed_runs_end_with_1_and_the_rest_is_there(study, limbeck, tmp_path):
    text = STUDY.replace("method: label_smoothing", "optimiser.lr: 1e12, schedule.warmup: 0")
    ran = limbeck("study", study(text), *CHANGES, "training.batch_size=10")
    assert ran.code == 1
    assert "not decided: cell smooth failed" in ran.out
    assert ran.err.splitlines()[-1] == "limbeck: 2 run(s) failed; the same command tries them again"
    assert "Traceback" not in ran.err
    assert len(list((tmp_path / "studies/s/runs").glob("*/results.json"))) == 2


def test_what_figures_need_is_asked_before_anything_runs(study, refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    said = refused("study", study(), *CHANGES, "--figures", "figures")
    assert said == "figures as files need Kaleido: pip install 'limbeck[figures]'"
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("seeds:", "seed:", "s.yaml: unknown key 'seed'; did you mean 'seeds'?"),
        ("error(smooth)", "error(smoth)", "s.yaml: claim 'error(smoth) < error(baseline)': there is no cell 'smoth'"),
        ("label_smoothing", "label_smooth", "s.yaml, cell 'smooth': method: unknown name 'label_smooth'; did you mean"),
        ("digits/baseline", "digits/basline", "there is no recipe 'digits/basline'; did you mean 'digits/baseline'?"),
        ("seeds: [0, 1]", "seeds: [0, 1", "s.yaml, line 7: broken YAML"),
        ("{}", "{method.epsilon: 1}", "s.yaml, cell 'baseline': unknown key 'epsilon' in method"),
    ],
)
def test_a_broken_study_is_one_line(study, refused, tmp_path, old, new, reason):
    assert old in STUDY
    assert reason in refused("study", study(STUDY.replace(old, new, 1)))
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("gone.yaml", "there is no study file gone.yaml"),
        ("digits_quik", "there is no study 'digits_quik'; did you mean 'digits_quick'?"),
        ("s.yaml method=pskd", "the command line and the cell 'smooth' both set method.name"),
        ("s.yaml --on moon", "--on 'moon': write here, processes, ray or ray://HOST:PORT"),
        ("s.yaml --on ray://127.0.0.1:9", "there is no Ray cluster at ray://127.0.0.1:9"),
        ("s.yaml --gpus-per-run 0.5", "--gpus-per-run shares the GPUs of a Ray cluster: add --on ray"),
        ("s.yaml --jobs 0", "Invalid value for '--jobs'"),
        ("s.yaml --scale huge", "Invalid value for '--scale'"),
        ("s.yaml --dri", "No such option: --dri"),
    ],
)
def test_a_misuse_is_one_line(study, refused, tmp_path, monkeypatch, words, reason):
    pytest.importorskip("ray") if "ray://127" in words else None
    study()
    assert reason in refused("study", *words.split())
    assert not (tmp_path / "studies").exists()


def test_a_changed_study_is_refused_and_nothing_is_lost(study, done, refused, tmp_path):
    done("study", study(), *CHANGES)
    report = (tmp_path / "studies/s/report.md").read_text()
    more = [change.replace("epochs=2", "epochs=3") for change in CHANGES]
    said = refused("study", "s.yaml", *more)
    assert "baseline-seed0 holds another run (training.epochs is 2 there and 3 here): choose another folder" in said
    assert (tmp_path / "studies/s/report.md").read_text() == report
