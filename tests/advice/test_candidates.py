"""Who takes part in a tournament, and why others do not."""

import pytest

from limbeck.advice import candidates
from limbeck.advice.candidates import BASELINE, CANDIDATES, Teaching, enter
from limbeck.advice.question import base_of
from limbeck.core import LimbeckError
from limbeck.recipes.parse import merged
from limbeck.recipes.read import plan
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime


def entered(question):
    return enter(question, base_of(question))


@pytest.fixture
def run(tmp_path):
    """Return a function that trains a run to teach: its folder."""

    def train(name="teacher", **changes):
        tree = {
            "data": {"source": "digits", "examples": 60},
            "model": {"name": "cnn", "width": 2},
            "training": {"epochs": 1, "batch_size": 30},
        }
        plan(merged(tree, changes), name).run(tmp_path / name, Runtime("cpu", 1, 1), Display(silent=True))
        return str(tmp_path / name)

    return train


def test_every_candidate_is_a_recipe_of_its_own(question):
    asked = question(teacher="{name: cnn, width: 4}")
    recipe = base_of(asked).recipe
    stages = {
        name: plan(merged(recipe, one.changes(asked, 4, Teaching("full", "short", 1))), name)
        for name, one in CANDIDATES.items()
    }
    assert stages[BASELINE].student.method.__class__.__name__ == "CrossEntropy"
    assert len({repr(stage) for stage in stages.values()}) == len(CANDIDATES)
    for name, stage in stages.items():
        assert stage.student.training == stages[BASELINE].student.training
        assert stage.student.optimiser == stages[BASELINE].student.optimiser
        assert stage.student.data == stages[BASELINE].student.data
        assert len(stage.student.networks) == (2 if CANDIDATES[name].twin else 1)


def test_what_ends_early_does_so_at_a_share_of_each_rung(question):
    for epochs, end in ((60, 18), (20, 6), (1, 1)):
        assert CANDIDATES["kd_until"].changes(question(), epochs, None)["method"]["stop"]["epoch"] == end


def test_without_a_teacher_those_that_need_none_take_part(question, taught):
    found = entered(question())
    assert found.names[0] == BASELINE
    assert set(found.left_out) == set(taught)
    assert set(found.left_out.values()) == {"needs a teacher: give --teacher"}


def test_with_a_teacher_all_do(question):
    found = entered(question(teacher="{name: cnn, width: 4}"))
    assert found.names == list(CANDIDATES)


def test_only_those_that_are_asked_for_take_part(question):
    found = entered(question(methods="pskd, label_smoothing"))
    assert found.names == [BASELINE, "label_smoothing", "pskd"]
    assert found.left_out["cskd"] == "not asked for"
    with pytest.raises(LimbeckError, match="there is no candidate 'psdk'; did you mean 'pskd'"):
        entered(question(methods="psdk"))
    with pytest.raises(LimbeckError, match=r"no candidate is left \(none was asked for\)"):
        entered(question(methods=BASELINE))
    with pytest.raises(LimbeckError, match=r"no candidate is left \(kd: needs a teacher"):
        entered(question(methods="kd"))


def test_cskd_needs_another_example_of_each_class(question, photos):
    changes = ("data.examples=null", "data.workers=0", "data.source.size=8", "data.validation=2")
    found = entered(question(*changes, data=str(photos(cat=4, dog=2))))
    assert found.left_out["cskd"] == "needs two examples of each class, and there is one of dog"
    assert "pskd" in found.names


def test_matchers_take_part_where_layers_pair(question, monkeypatch):
    asked = []

    def check(matchers, networks, teacher, train, where):
        asked.append((where, teacher.name))
        if where == "kd_ft":
            raise LimbeckError("no layers that pair")

    monkeypatch.setattr(candidates, "check_layers", check)
    found = entered(question(teacher="resnet8"))
    assert asked == [("kd_at", "resnet8"), ("kd_ft", "resnet8")]
    assert found.left_out == {"kd_ft": "no layers that pair"}


def test_a_finished_run_teaches_as_it_is(question, run):
    found = entered(question(teacher=run()))
    assert "kd" in found.names
    assert "kd_at" in found.names
    assert "name a network instead" in found.left_out["kd_short"]
    assert "name a network instead" in found.left_out["dekd"]


def test_a_run_that_cannot_teach_is_refused(question, run):
    with pytest.raises(LimbeckError, match="cannot teach these data: .* knows 3 classes, the data have 10"):
        entered(question(teacher=run(data={"classes": 3})))
    with pytest.raises(LimbeckError, match="has several students"):
        entered(question(teacher=run("two", peers=[{"name": "cnn", "width": 2}], method="dml")))


def test_a_run_that_is_not_finished_is_refused(question, run, tmp_path):
    folder = run("broken")
    (tmp_path / "broken/results.json").unlink()
    with pytest.raises(LimbeckError, match="no results.json"):
        entered(question(teacher=folder))
