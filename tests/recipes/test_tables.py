"""Many recipes in one file: what a row starts from, how it is named, and how it is written out whole."""

import pytest

from limbeck.errors import LimbeckError
from limbeck.recipes import read_recipe, recipe_names, recipe_tree
from limbeck.recipes.parse import parse, write
from limbeck.recipes.shipped import find_recipe, recipe_tables, recipe_text, run_name

TABLE = """\
description: Of the table.
reference: {source: a paper, ece: 1.0}
data: {source: digits}
model: {name: cnn, width: 4}
method: {name: kd, alpha: 0.5}
rows:
  plain: {description: Of the row., method: cross_entropy}
  taught:
    reference: {ece: 2.0}
    method: {temperature: 2.0}
    stages: {teacher: {method: cross_entropy}, student: {teacher: {stage: teacher}}}
  empty:
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(TABLE)
    return "mine.yaml"


def test_a_row_starts_from_the_table_and_changes_some(table):
    assert recipe_tree(f"{table}/taught") == {
        "reference": {"source": "a paper", "ece": 2.0}, "data": {"source": "digits"},
        "model": {"name": "cnn", "width": 4}, "method": {"name": "kd", "alpha": 0.5, "temperature": 2.0},
        "stages": {"teacher": {"method": "cross_entropy"}, "student": {"teacher": {"stage": "teacher"}}},
    }  # fmt: skip
    assert recipe_tree(f"{table}/empty")["method"] == {"name": "kd", "alpha": 0.5}


def test_what_a_table_says_of_itself_is_not_said_of_its_rows(table):
    plain = recipe_tree(f"{table}/plain")
    assert list(plain) == ["description", "data", "model", "method"]
    assert (plain["description"], plain["method"]) == ("Of the row.", "cross_entropy")


def test_a_row_written_out_reads_back_as_the_same_plan(table, tmp_path):
    (tmp_path / "alone.yaml").write_text(recipe_text(f"{table}/taught"))
    assert read_recipe("alone.yaml") == read_recipe(f"{table}/taught")


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_row_written_out_reads_back(name):
    tree = recipe_tree(name)
    assert parse(recipe_text(name), name) == tree
    assert next(iter(tree)) == "description"
    assert tree["description"].endswith(".")
    assert "\n" not in tree["description"]


def test_texts_that_look_like_numbers_stay_texts():
    tree = {"a": "1e-3", "b": "no", "c": 1e-05, "d": "2020-01-02", "e": ".5", "f": None, "g": "x: y", "h": [1e-4, True]}
    assert parse(write(tree), "here") == tree


def test_rows_keep_their_order_and_are_named_by_their_path():
    assert recipe_names()[:2] == ["cifar100/baseline", "cifar100/label_smoothing"]
    assert recipe_tables()["kd/cifar100"] == ["resnet20_baseline", "resnet56_baseline", "resnet20_kd_resnet56"]
    assert len(set(recipe_names())) == len(recipe_names())


def test_a_run_is_called_by_table_and_row(table, tmp_path):
    names = ("digits/kd", "pskd/cifar100/resnet18_pskd", "mine.yaml/plain", str(tmp_path / "mine.yaml/plain"))
    assert [run_name(name) for name in names][:3] == ["digits-kd", "pskd-cifar100-resnet18_pskd", "mine-plain"]
    assert run_name(names[3]).endswith("-mine-plain")
    (tmp_path / "my.own.yaml").write_text("model: cnn\n")
    assert run_name("./my.own.yaml") == "my.own"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "mine.yaml",
            r"^mine\.yaml is a table: name one of its rows, such as mine\.yaml/plain \(also: taught, empty\)$",
        ),
        ("mine.yaml/plian", r"^there is no recipe 'mine\.yaml/plian'; did you mean 'mine\.yaml/plain'\?$"),
        ("mine.yaml/zz", r"^there is no recipe 'mine\.yaml/zz'; see mine\.yaml$"),
        ("digits/pskdd", r"^there is no recipe 'digits/pskdd'; did you mean 'digits/pskd'\?$"),
        ("digitss/pskd", r"^there is no recipe 'digitss/pskd'; did you mean 'digits/pskd'\?$"),
        ("other.yaml/plain", r"^there is no recipe file other\.yaml$"),
        ("pskd/cifar100", r"^pskd/cifar100 is a table: name one of its rows"),
        ("/nowhere/digits/kd", r"^there is no recipe '/nowhere/digits/kd'"),
    ],
)
def test_a_name_that_is_no_recipe_is_one_line(table, name, reason):
    with pytest.raises(LimbeckError, match=reason):
        recipe_tree(name)


def test_a_table_is_found_whole():
    assert find_recipe("digits").row is None
    assert recipe_text("digits") == find_recipe("digits").file.read_text()


def test_a_shipped_tree_is_not_changed_by_overrides():
    before = read_recipe("digits/kd")
    read_recipe("digits/kd", ["method.alpha=0.1", "data.examples=50", "stages.teacher.seed=3", "scale=tiny"])
    assert read_recipe("digits/kd") == before
