"""The other commands: what they show, what they refuse, and how fast they answer."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.data.load import SOURCES
from limbeck.matching import MATCHERS
from limbeck.metrics.figures import FIGURES
from limbeck.models import list_models
from limbeck.recipes import read_recipe, recipe_names
from limbeck.recipes.shipped import FOLDER, recipe_tables
from limbeck.studies.names import SHIPPED, study_names
from limbeck.studies.study import read_study
from limbeck.targets import METHODS


def python(*arguments, cwd=None):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_help_answers_at_once_and_without_torch():
    took = []
    for _ in range(5):
        started = time.monotonic()
        ran = python("-m", "limbeck", "--help")
        took.append(time.monotonic() - started)
        assert ran.returncode == 0
        if took[-1] < 0.5:
            break
    assert min(took) < 0.5
    assert all(name in ran.stdout for name in ("demo", "train", "evaluate", "compare", "list", "show", "copy"))
    light = "limbeck.cli.app", "limbeck.report.compare", "limbeck.report.text", "limbeck.recipes.shipped"
    assert python("-c", f"import sys, {', '.join(light)}; assert 'torch' not in sys.modules").returncode == 0


def test_the_module_is_the_command_and_a_mistake_has_no_traceback(tmp_path):
    ran = python("-m", "limbeck", "train", "digits/baseline", "training.epochs=-3", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == "limbeck: digits/baseline: training.epochs: must be at least 1; it is -3\n"
    command = Path(sys.executable).with_name("limbeck")
    ran = subprocess.run([command, "copy", "digits/pskdd"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "limbeck: there is no recipe 'digits/pskdd'; did you mean 'digits/pskd'?\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'? (limbeck --help says more)"),
        ("train", "Missing argument 'recipe' (limbeck train --help says more)"),
        ("train x --nope", "No such option: --nope"),
        ("train x --seeds", "Option '--seeds' requires an argument"),
        ("train x --devices 0", "Invalid value for '--devices'"),
        ("train x --devices two", "Invalid value for '--devices'"),
        ("demo --seeds 0", "Invalid value for '--seeds'"),
        ("list model", "'model' is not one of 'methods', 'matchers', 'models', 'data', 'recipes', 'studies', 'layers'"),
        ("evaluate x --which worst", "'worst' is not one of 'last', 'best'"),
        ("evaluate nowhere", "nowhere is no run folder: cannot read its recipe.yaml (No such file or directory)"),
        ("compare nowhere", "there is no run folder nowhere"),
        ("compare .", ". holds no finished run; finish it with the command that started it"),
        ("show nothing", "nothing is called 'nothing'; see limbeck list"),
        ("show resnet21", "nothing is called 'resnet21'; did you mean 'resnet32'?"),
        ("show wrn_17_2", "should be 6n + 4 (10, 16, 22, 28, ...)"),
        ("show torchvision:nothing", "torchvision has no model 'nothing'"),
        ("copy digits/kdd", "there is no recipe 'digits/kdd'; did you mean 'digits/kd'?"),
        ("copy digits_quik", "there is no recipe or study 'digits_quik'; did you mean 'digits_quick'?"),
        ("copy moon", "there is no recipe or study 'moon'; see limbeck list"),
        ("show digits_quik", "nothing is called 'digits_quik'; did you mean 'digits_quick'?"),
    ],
)
def test_a_misuse_is_one_line(refused, words, expected):
    assert expected in refused(*words.split())


def test_no_command_shows_the_help(limbeck):
    ran = limbeck()
    assert "Usage: limbeck" in ran.out
    assert ran.err == ""


def test_list_has_every_name_with_a_gap_behind_it(done):
    everything = done("list").out
    for kind, names in (
        ("methods", METHODS),
        ("models", list_models()),
        ("data", SOURCES),
        ("recipes", recipe_names()),
        ("studies", study_names()),
    ):
        listed = done("list", kind).out.splitlines()
        assert {line.split("  ")[0] for line in listed} >= set(names)
        assert all(f"  {line}" in everything for line in listed)


@pytest.mark.parametrize("name", [*METHODS, *SOURCES, *(n for n in list_models() if "28" not in n)])
def test_show_has_something_to_say_of_every_name(done, name):
    shown = done("show", name).out
    if name in METHODS:
        assert "Equation" in shown
        assert "Fidelity" in shown
    elif name in list_models():
        assert re.search(r"[\d,]+ parameters at 100 classes", shown)
        assert "Options" in shown
    else:
        assert "Fields" in shown


def test_show_of_a_model_has_the_papers_size_and_the_options(done):
    assert "11,217,444 parameters at 100 classes" in done("show", "preact_resnet18").out
    assert "width = 8" in done("show", "cnn").out


def test_show_of_a_row_is_its_whole_recipe_and_of_a_table_its_text(done):
    shown = done("show", "digits/kd").out
    assert shown.startswith(
        "description: Digits, small network, KD from a wider network that is trained first.\ndata: {"
    )
    assert "rows" not in shown
    assert "  student:\n    teacher: {stage: teacher}\n" in shown
    assert "reference: {source: README of the authors' repository" in done("show", "pskd/cifar100/resnet18_pskd").out
    assert done("show", "pskd/cifar100").out == (FOLDER / "pskd/cifar100.yaml").read_text()


def test_a_study_is_listed_by_its_question_and_shown_as_it_is_written(done):
    listed = done("list", "studies").out
    for name in study_names():
        assert re.search(rf"^{name} +{re.escape(read_study(name).study.description)}$", listed, re.MULTILINE)
    assert done("show", "digits_quick").out == (SHIPPED / "digits_quick.yaml").read_text()
    assert "{claim: error(pskd) < error(baseline), source: " in done("show", "digits_quick").out


def test_no_name_stands_for_two_things():
    names = [*METHODS, *MATCHERS, *SOURCES, *list_models(), *recipe_names(), *study_names()]
    assert len(names) == len(set(names))
    # a table may be called as what its recipes are of, and then show means that; a study may not
    assert not set(study_names()) & set(recipe_tables())


def test_listing_recipes_and_studies_and_reading_them_needs_no_torch():
    listing = "from limbeck.report.catalogue import catalogue; catalogue('recipes'), catalogue('studies')"
    assert python("-c", f"import sys; {listing}; assert 'torch' not in sys.modules").returncode == 0


def test_copy_gives_a_recipe_to_edit_and_never_writes_over_one(done, refused, tmp_path):
    assert done("copy", "digits/kd").out == "written: kd.yaml; train it with: limbeck train kd.yaml\n"
    assert (tmp_path / "kd.yaml").read_text() == done("show", "digits/kd").out
    assert read_recipe("kd.yaml") == read_recipe("digits/kd")
    (tmp_path / "kd.yaml").write_text("mine")
    assert refused("copy", "digits/kd") == "kd.yaml exists already; name another file"
    assert (tmp_path / "kd.yaml").read_text() == "mine"
    done("copy", "digits/kd", "own/new.yaml")
    done("copy", "digits/kd", "own")
    assert (tmp_path / "own/new.yaml").read_text() == (tmp_path / "own/kd.yaml").read_text()


def test_copy_gives_a_whole_table_and_one_row_of_it_is_trained(done, tiny, tmp_path):
    said = done("copy", "digits", "mine.yaml").out
    assert said == "written: mine.yaml; train it with: limbeck train mine.yaml/ROW\n"
    assert (tmp_path / "mine.yaml").read_text() == (FOLDER / "digits.yaml").read_text()
    tiny("mine.yaml/pskd")
    assert (tmp_path / "runs/mine-pskd/results.json").exists()
    done("copy", "mine.yaml/pskd")
    assert read_recipe("pskd.yaml") == read_recipe("digits/pskd")


def test_copy_gives_a_study_to_edit(done, refused, tmp_path):
    said = done("copy", "digits_quick", "mine.yaml").out
    assert said == "written: mine.yaml; run it with: limbeck study mine.yaml\n"
    assert (tmp_path / "mine.yaml").read_text() == done("show", "digits_quick").out == done("show", "mine.yaml").out
    assert read_study("mine.yaml").study == read_study("digits_quick").study
    assert "9 runs of 3 cells, 0 finished" in done("study", "mine.yaml", "--dry").out
    assert refused("copy", "digits_quick", "mine.yaml") == "mine.yaml exists already; name another file"
    done("copy", "digits_teachers")
    assert (tmp_path / "digits_teachers.yaml").exists()


def test_evaluate_finds_the_figures_of_the_run_again(tiny, done, tmp_path, monkeypatch):
    tiny("digits/baseline", "--folder", "run")
    written = json.loads((tmp_path / "run/results.json").read_text())["students"]["student"]
    for which in ("last", "best"):
        shown = done("evaluate", "run", "--which", which).out
        row = next(line.split() for line in shown.splitlines() if line.split()[:1] == [which])
        figures = [figure for figure in FIGURES if figure.key in written[which]]
        assert row[1:] == [figure.show(written[which][figure.key]) for figure in figures]
    monkeypatch.chdir(tmp_path / "run")
    done("evaluate", ".")
    assert "<title>run</title>" in (tmp_path / "run/report.html").read_text()


def test_damaged_files_of_a_run_are_named(tiny, refused, tmp_path):
    tiny("digits/baseline", "--folder", "run")
    run = tmp_path / "run"
    (run / "predictions.npz").write_bytes((run / "predictions.npz").read_bytes()[:100])
    assert "run/predictions.npz is missing or damaged" in refused("compare", "run", "--page", "page.html")
    assert not (tmp_path / "page.html").exists()
    (run / "student.safetensors").write_bytes((run / "student.safetensors").read_bytes()[:100])
    assert "run/student.safetensors is not a sound safetensors file" in refused("evaluate", "run")
    (run / "results.json").write_text('{"students": ')
    assert refused("compare", "run").startswith("run/results.json is damaged")
    (run / "environment.json").unlink()
    assert refused("compare", "run").startswith("cannot read run/environment.json: No such file")
    (run / "recipe.yaml").write_text("a: [")
    assert refused("compare", "run").startswith("run/recipe.yaml is damaged")


def test_compare_groups_tells_apart_and_writes_its_tables(tiny, done, refused, tmp_path):
    for alpha in (0.1, 0.9):
        tiny("digits/pskd", f"method.alpha={alpha}", "--seeds", "0,1", "--folder", f"runs/{alpha}")
    ran = done("compare", "runs/0.1", "runs/0.9", "--out", "tables", "--page", "tables/page.html")
    assert "pskd, alpha=0.1   2 " in ran.out
    assert "pskd, alpha=0.9   2 " in ran.out
    assert "against pskd, alpha=0.1" in ran.out
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "comparison.csv", "comparison.md", "page.html",
    ]  # fmt: skip
    lines = (tmp_path / "tables/comparison.csv").read_text().splitlines()
    assert lines[0].startswith("group,seed,folder,")
    assert len(lines) == 5
    assert "| pskd, alpha=0.9 | 2 |" in (tmp_path / "tables/comparison.md").read_text()
    done("compare", "runs/0.1", "runs/0.9", "--out", "out", "--tables", "tables/paper")
    assert r"pskd, alpha=0.9 & 2 &" in (tmp_path / "tables/paper/results.tex").read_text()
    assert (tmp_path / "tables/paper/paired.csv").exists()
    said = refused("compare", "runs/0.1", "runs/0.1/seed-0")
    assert said == "pskd has seed 0 twice, once in runs/0.1/seed-0: name each run once"
