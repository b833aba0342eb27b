"""Every shipped study is read, its recipes are checked, and its claims find their cells."""

import pytest

from limbeck.recipes.shipped import recipe_tables
from limbeck.studies.make import prepare
from limbeck.studies.study import read_study, study_names


@pytest.mark.parametrize("name", study_names())
def test_a_shipped_study_is_ready_to_be_made(name, tmp_path):
    found = prepare(name, tmp_path, [], None, "cpu", "")
    assert found.study.description.endswith((".", "?"))
    assert len(found.study.seeds) >= 3
    assert found.claims
    assert all(stage.training.epochs <= 60 for plan in found.plans.values() for stage in plan.stages.values())


@pytest.mark.parametrize("data", ["fashion_mnist", "cifar100"])
def test_the_studies_of_eskd_share_their_teachers(data, tmp_path):
    """The largest teacher and the baseline are one training each in all studies, and sizes keep their order."""
    kinds = ("capacity", "teachers", "distillation", "sequences")
    plans = [prepare(f"eskd_{kind}_{data}", tmp_path, [], None, "cpu", "").plans for kind in kinds]
    largest = [
        plans[0]["kd,teacher=largest-seed0"],
        plans[1]["full-seed0"],
        plans[2]["kd-seed0"],
        plans[3]["direct-seed0"],
    ]
    assert all(plan == largest[0] for plan in largest)
    names = [
        plans[0][f"kd,teacher={size}-seed0"].stages["teacher"].model.name for size in ("medium", "large", "largest")
    ]
    assert names == ["resnet14", "resnet20", "resnet32"]
    assert largest[0].student.model.name == "resnet8"


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
