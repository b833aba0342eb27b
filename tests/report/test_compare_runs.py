"""Runs side by side: what is a group, what it is called, and whether the statistics are right."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from limbeck.errors import LimbeckError
from limbeck.metrics.figures import figure
from limbeck.report.compare import (
    csv,
    group,
    markdown,
    mean_and_spread,
    paired,
    paired_table,
    read_runs,
    require,
    table,
    unfinished,
)

KD = {"method": {"name": "kd", "alpha": 0.9, "temperature": 4.0}}
PSKD = {"method": {"name": "pskd", "alpha": 0.8}}


def labels(*folders):
    return [found.label for found in group(read_runs(folders))]


def test_runs_that_differ_in_the_seed_only_are_a_group(finished):
    folders = [finished(f"a{seed}", seed) for seed in (2, 0, 1)] + [finished("b", 0, recipe=PSKD)]
    groups = group(read_runs(folders))
    assert [(found.label, list(found.runs)) for found in groups] == [("cross_entropy", [0, 1, 2]), ("pskd", [0])]


def test_a_folder_of_runs_stands_for_its_finished_runs(finished, tmp_path):
    for seed in (0, 1):
        finished(f"all/seed-{seed}", seed)
    (finished("all/half", 2) / "results.json").unlink()
    (tmp_path / "all/notes").mkdir()
    assert [run.folder.name for run in read_runs([tmp_path / "all"])] == ["seed-0", "seed-1"]
    assert unfinished([tmp_path / "all", tmp_path / "all/seed-0"]) == [tmp_path / "all/half"]


def test_a_coder_beside_teachers_is_passed_over(finished, tmp_path):
    finished("stages/teacher-1")
    coder = tmp_path / "stages/paraphraser-2"
    coder.mkdir()
    (coder / "recipe.yaml").write_text("coder: {name: paraphraser}")
    (coder / "results.json").write_text('{"epochs": 6, "rebuilding": 0.1}')
    (coder / "coder.safetensors").write_bytes(b"")
    assert [run.folder.name for run in read_runs([tmp_path / "stages"])] == ["teacher-1"]
    with pytest.raises(LimbeckError, match="paraphraser-2 is of a coder, which classifies nothing"):
        read_runs([coder])


def test_methods_are_told_apart_by_name_alone(finished):
    folders = [finished("a"), finished("b", recipe=KD, teacher="resnet20 by cross_entropy, last")]
    assert labels(*folders, finished("c", recipe=PSKD)) == ["cross_entropy", "kd", "pskd"]


def test_detectors_are_told_apart_by_what_they_stand_on(finished):
    folders = [finished(name, backbone=f"resnet8 by {name} for 60 epochs, last") for name in ("cross_entropy", "pskd")]
    assert labels(*folders) == [
        f"cross_entropy, backbone=resnet8 by {name} for 60 epochs, last" for name in ("cross_entropy", "pskd")
    ]


def test_one_method_is_told_apart_by_what_differs(finished):
    low, high = ({"method": {"name": "pskd", "alpha": alpha}} for alpha in (0.1, 0.9))
    assert labels(finished("a", recipe=low), finished("b", recipe=high), finished("c")) == [
        "pskd, alpha=0.1", "pskd, alpha=0.9", "cross_entropy",
    ]  # fmt: skip
    teachers = [finished(f"kd{i}", recipe=KD, teacher=f"resnet{i} by cross_entropy, last") for i in (8, 20)]
    assert labels(*teachers) == [
        "kd, teacher=resnet8 by cross_entropy, last", "kd, teacher=resnet20 by cross_entropy, last",
    ]  # fmt: skip
    wide, deep = {"model": {"name": "cnn", "width": 8}}, {"model": {"name": "resnet8", "shortcut": "pad"}}
    assert labels(finished("d"), finished("e", recipe=wide), finished("f", recipe=deep)) == [
        "cross_entropy, model=cnn, width=4", "cross_entropy, model=cnn, width=8", "cross_entropy, model=resnet8",
    ]  # fmt: skip


def test_a_schedule_a_list_and_two_fields_of_one_name_are_told_apart(finished):
    scheduled = {"method": {**KD["method"], "alpha": {"name": "until", "value": 0.9, "epoch": 5}}}
    assert labels(finished("a", recipe=KD), finished("b", recipe=scheduled)) == ["kd, alpha=0.9", "kd, alpha=until"]
    data = {"source": {"name": "digits"}, "views": [{"name": "flip"}, {"name": "cutout"}], "workers": 0}
    assert labels(finished("c"), finished("d", recipe={"data": data})) == [
        "cross_entropy, views=pad_crop", "cross_entropy, views=flip+cutout",
    ]  # fmt: skip
    clashing = PSKD | {"data": {"source": {"name": "digits"}, "mix": {"name": "mixup", "alpha": 0.2}}}
    other = {
        "method": {"name": "pskd", "alpha": 0.1},
        "data": {"source": {"name": "digits"}, "mix": {"name": "mixup", "alpha": 1}},
    }
    assert labels(finished("e", recipe=clashing), finished("f", recipe=other)) == [
        "pskd, data.mix.alpha=0.2, method.alpha=0.8", "pskd, data.mix.alpha=1, method.alpha=0.1",
    ]  # fmt: skip


def test_groups_that_nothing_in_the_recipe_tells_apart_bear_a_mark(finished):
    assert labels(finished("a", group="abcdef0"), finished("b", group="fedcba0")) == [
        "cross_entropy (abcdef)", "cross_entropy (fedcba)",
    ]  # fmt: skip


def test_a_seed_twice_a_missing_and_an_unfinished_run_are_refused(finished, tmp_path):
    one, same = finished("a"), finished("b")
    with pytest.raises(LimbeckError, match="cross_entropy has seed 0 twice, once in .*a: name each run once"):
        group(read_runs([one, same]))
    with pytest.raises(LimbeckError, match="there is no run folder .*nowhere"):
        read_runs([tmp_path / "nowhere"])
    (one / "results.json").unlink()
    with pytest.raises(LimbeckError, match="a holds no finished run; finish it with the command that started it"):
        read_runs([one])
    with pytest.raises(LimbeckError, match="c has no best weights: it was trained without a validation split"):
        require(group(read_runs([finished("c", 1, best=False), same])), "best")


OURS, THEIRS = (0.21, 0.19, 0.24, 0.205), (0.25, 0.22, 0.235, 0.26)


def test_the_paired_test_is_scipys(finished):
    folders = [finished(f"a{seed}", seed, {"nll": value}) for seed, value in enumerate(THEIRS)]
    folders += [finished(f"b{seed}", seed, {"nll": value}, recipe=PSKD) for seed, value in enumerate(OURS)]
    first, second = group(read_runs([*folders, finished("b9", 9, {"nll": 5.0}, recipe=PSKD)]))
    found = paired(second, first, "nll", "last")
    expected = stats.ttest_rel(OURS, THEIRS)
    low, high = expected.confidence_interval(0.95)
    assert found.pairs == 4
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_there_is_no_test_where_there_is_nothing_to_test(finished):
    groups = group(read_runs([finished("a"), finished("b", recipe=PSKD)]))
    assert paired(groups[1], groups[0], "nll", "last") is None
    assert paired_table(groups, "last", ("nll",)) == []
    equal = [finished(f"c{seed}", seed, recipe=recipe) for seed in (3, 4) for recipe in [None]]
    shifted = [finished(f"d{seed}", seed, {"nll": 0.5}, recipe=PSKD) for seed in (3, 4)]
    groups = group(read_runs(equal + shifted))
    found = paired(groups[1], groups[0], "nll", "last")
    assert (found.mean, found.half_width) == pytest.approx((0.1, 0.0))
    assert math.isnan(found.p)
    assert paired_table(groups, "last", ("nll",))[0]["NLL"] == "+0.100 ± 0.000, no spread"


def test_runs_on_other_test_sets_are_not_paired(finished):
    runs = [finished(f"a{seed}", seed) for seed in (0, 1)]
    runs += [finished(f"b{seed}", seed, {"nll": 0.5 + seed}, recipe=PSKD, test="other") for seed in (0, 1)]
    groups = group(read_runs(runs))
    assert paired(groups[1], groups[0], "nll", "last") is None


def test_a_cell_is_mean_and_sample_deviation():
    assert mean_and_spread([0.1, 0.2, 0.6], figure("error")) == "30.00 ± 26.46"
    assert mean_and_spread([0.1], figure("error")) == "10.00"
    assert mean_and_spread([], figure("error")) == "–"


def test_tables_have_what_was_measured(finished):
    runs = [finished(f"a{seed}", seed, {"error": 0.1 + seed / 10, "scaled_nll": 0.3}) for seed in (0, 1)]
    runs += [finished(f"b{seed}", seed, {"error": 0.3 + seed / 50}, recipe=PSKD, best=False) for seed in (0, 1)]
    groups = group(read_runs(runs))
    rows = table(groups, "last")
    assert [row["group"] for row in rows] == ["cross_entropy", "pskd"]
    assert [row["Top-1 error %"] for row in rows] == ["15.00 ± 7.07", "31.00 ± 1.41"]
    assert [row["NLL, T-scaled"] for row in rows] == ["0.300 ± 0.000", "–"]
    assert table(groups, "best")[1]["Top-1 error %"] == "–"
    (against,) = paired_table(groups, "last", ("error",))
    assert against["against cross_entropy"] == "pskd"
    assert against["pairs"] == "2"
    assert against["Top-1 error %"].startswith("+16.00 ± ")


def test_csv_has_every_run_unscaled_and_markdown_is_a_table(finished):
    runs = [finished(f"a{seed}", seed, {"error": 0.1 + seed / 10}) for seed in (0, 1)]
    groups = group(read_runs(runs))
    read = pd.read_csv(io.StringIO(csv(groups, "last")))
    assert list(read["error"]) == [0.1, 0.2]
    assert list(read["seed"]) == [0, 1]
    assert read["folder"][1] == str(runs[1])
    assert markdown([{"a": "1|2", "b": "3"}, {"a": "4"}]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n| 4 | – |\n"
    assert markdown([]) == ""
