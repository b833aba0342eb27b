"""Means with intervals, and the numbers of papers beside them."""

import math

import pytest
import yaml

from limbeck.metrics.figures import figure
from limbeck.report.compare import group, read_runs
from limbeck.report.summary import interval, printed, reference_notes, reference_of, results_numbers, results_table

PAPER = {"source": "table 2", "error": 9.5, "error_std": 0.2, "aurc": 15.0}


@pytest.fixture
def told(finished):
    """Return a function that writes a run with a reference, and returns its students."""

    def write(reference, name="a", seed=0, **options):
        folder = finished(name, seed, **options)
        path = folder / "recipe.yaml"
        path.write_text(yaml.safe_dump({"reference": reference} | yaml.safe_load(path.read_text())))
        return read_runs([folder])

    return write


def test_the_interval_is_student_s():
    mean, half = interval([1.0, 2.0, 6.0])
    spread = math.sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + (6 - 3) ** 2) / 2)
    assert mean == pytest.approx(3)
    t = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # of 2 degrees of freedom it has a closed form
    assert half == pytest.approx(t * spread / math.sqrt(3), rel=1e-9)
    assert interval([2.0]) == (2.0, None)


@pytest.mark.parametrize(
    ("values", "text"), [([], "–"), ([0.25], "25.00"), ([0.2, 0.2], "20.00 ± 0.00"), ([0.1, 0.2], "15.00 ± 63.53")]
)
def test_a_mean_is_printed_with_its_interval(values, text):
    assert printed(values, figure("error")) == text


def test_references_stand_below_their_group_in_printed_units(told):
    runs = told(PAPER) + told(PAPER, "b", 1)
    rows = results_table(group(runs), "last")
    assert [row["group"] for row in rows] == ["cross_entropy", "↳ reference"]
    assert rows[0]["Top-1 error %"] == "10.00 ± 0.00"
    assert rows[1]["Top-1 error %"] == "9.50 (SD 0.20)"
    assert rows[1]["AURC x1000"] == "15.00"
    assert rows[1]["NLL"] == ""
    assert reference_notes(group(runs)) == ["Reference: table 2 (of cross_entropy)."]
    line = next(line for line in results_numbers(group(runs), "last") if line["figure"] == "error")
    assert (line["mean"], line["n"], line["reference_as_printed"]) == (pytest.approx(0.1), 2, 9.5)


def test_a_changed_recipe_is_marked(told):
    groups = group(told({**PAPER, "changed": ["training.epochs=2", "scale=tiny"]}))
    assert results_table(groups, "last")[1]["group"] == "↳ reference *"
    assert reference_notes(groups)[1].startswith("* Trained with training.epochs=2, scale=tiny, and the reference is")


@pytest.mark.parametrize(
    "change", ["method=pskd", "method.alpha=0.1", "model.width=9", "stages.student.method=kd", "data.source=mnist"]
)
def test_another_experiment_has_no_reference(told, change):
    assert reference_of(told({**PAPER, "changed": [change]})[0]) is None


@pytest.mark.parametrize("reference", [None, "words", [1], {"source": "x"}, {"error": "low"}, {"error": math.nan}])
def test_what_is_no_number_is_no_reference(told, reference):
    assert reference_of(told(reference)[0]) is None


def test_each_student_has_its_own_number(together):
    folder = together("pair")
    tree = yaml.safe_load((folder / "recipe.yaml").read_text())
    tree["reference"] = {"source": "s", "error": 6.9, "peer_errors": [7.5]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tree))
    found = {run.student: reference_of(run) for run in read_runs([folder])}
    assert found["student-0"].values == {"error": 6.9}
    assert found["student-1"].values == {"error": 7.5}
    assert found["ensemble"] is None


def test_a_reference_does_not_tell_groups_apart(told):
    runs = told(PAPER) + told({**PAPER, "source": "another"}, "b", recipe={"method": {"name": "pskd"}})
    assert [one.label for one in group(runs)] == ["cross_entropy", "pskd"]
