"""Every shipped study is read, its recipes are checked, and its claims find their cells."""

import pytest

from limbeck.recipes.shipped import recipe_tables
from limbeck.studies.make import prepare
from limbeck.studies.names import study_names
from limbeck.studies.schedule import stage_keys
from limbeck.studies.study import read_study


@pytest.mark.parametrize("name", study_names())
def test_a_shipped_study_is_ready_to_be_made(name, tmp_path):
    found = prepare(name, tmp_path, [], None, "cpu", "")
    assert found.study.description.endswith((".", "?"))
    assert len(found.study.seeds) >= 3
    assert found.claims
    assert all(stage.training.epochs <= 60 for plan in found.plans.values() for stage in plan.stages.values())


@pytest.mark.parametrize("data", ["fashion_mnist", "cifar100"])
def test_the_studies_of_eskd_share_their_teachers(data, tmp_path):
    """The largest teacher is one training for all cells that it teaches in, and sizes keep their order."""
    plans = prepare(f"eskd_{data}", tmp_path, [], None, "cpu", "").plans
    keys = {
        stage_keys(plans[f"{cell}-seed0"])["teacher"]
        for cell in ("kd,teacher=largest", "eskd", "eskd_rest", "eskd_patience", "chain")
    }
    assert len(keys) == 1
    sizes = ("same", "medium", "large", "largest")
    names = [plans[f"kd,teacher={size}-seed0"].stages["teacher"].model.name for size in sizes]
    assert names == ["resnet8", "resnet14", "resnet20", "resnet32"]
    assert {plan.student.model.name for plan in plans.values()} == {"resnet8"}


def test_the_ledger_of_claims_is_whole():
    """Each claim is a sentence with its source, of all five papers; every recipe of its table is used."""
    study = read_study("claims").study
    assert len(study.claims) >= 30
    assert all(one.says and one.source for one in study.claims)
    assert len({one.claim for one in study.claims}) == len({one.says for one in study.claims}) == len(study.claims)
    assert {str(one.source).split(" (")[0] for one in study.claims} == {"PS-KD", "Tf-KD", "IE-KD", "KDCL", "ESKD"}
    assert set(study.cells) == set(recipe_tables()["claims/cifar100"])
    assert all(f"{cell})" in " ".join(one.claim for one in study.claims) for cell in study.cells)


def test_the_ledger_of_claims_stands_at_the_smallest_scale(tmp_path):
    found = prepare("claims", tmp_path, [], "tiny", "cpu", "")
    assert len(found.cells) == len(found.study.cells)
