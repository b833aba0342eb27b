"""From a study to its runs."""

import pytest

from limbeck.core import LimbeckError
from limbeck.studies.make import prepare
from limbeck.studies.names import study_names
from limbeck.studies.schedule import stage_keys
from limbeck.studies.study import read_study

GRID = """
cells:
  baseline: {method: cross_entropy}
  pskd: {method: pskd}
axes:
  alpha: {field: method.alpha, values: [0.3, 0.8], cells: [pskd]}
  width: {narrow: {model.width: 2}, wide: {model: {width: 4}}}
seeds: [3, 5]
"""


def test_cells_are_crossed_with_the_axes_that_vary_them(cells):
    grid = cells(GRID)
    assert [cell.name for cell in grid] == [
        "baseline,width=narrow",
        "baseline,width=wide",
        "pskd,alpha=0.3,width=narrow",
        "pskd,alpha=0.3,width=wide",
        "pskd,alpha=0.8,width=narrow",
        "pskd,alpha=0.8,width=wide",
    ]
    last = grid[-1]
    assert (last.kind, last.at, list(last.plans)) == ("pskd", {"alpha": "0.8", "width": "wide"}, [3, 5])
    stage = last.plans[5].student
    assert (stage.method.alpha, stage.model.options["width"], stage.seed) == (0.8, 4, 5)
    assert grid[0].run(3) == "baseline,width=narrow-seed3"


def test_changes_are_nested_dotted_or_listed(cells):
    grid = cells(
        "cells:\n  a: {method: {name: pskd, alpha: 0.2}}\n  b: {method.name: pskd, method.alpha: 0.3}\n"
        "  c: [method=pskd, method.alpha=0.4, training.epochs=3]\nseeds: 1\n"
    )
    assert [cell.plans[0].student.method.alpha for cell in grid] == [0.2, 0.3, 0.4]
    assert grid[2].plans[0].student.training.epochs == 3


def test_without_cells_and_axes_there_is_one(cells):
    (only,) = cells("seeds: 2\n")
    assert (only.name, only.run(1)) == ("recipe", "recipe-seed1")
    assert [cell.name for cell in cells("axes: {w: {field: model.width, values: [2, 3]}}\nseeds: 1\n")] == [
        "w=2",
        "w=3",
    ]


def test_a_cell_may_start_from_another_recipe_which_may_stand_beside_the_study(cells, tmp_path):
    (tmp_path / "mine.yaml").write_text("data: digits\nmodel: resnet8\nrows: {one: {seed: 9}}\n".replace(
        "data: digits", "data: {source: digits}"
    ))  # fmt: skip
    grid = cells("cells: {a: {recipe: digits/kd}, b: {recipe: mine.yaml/one, training.epochs: 7}}\nseeds: 1\n")
    assert list(grid[0].plans[0].stages) == ["teacher", "student"]
    assert grid[1].plans[0].student.model.name == "resnet8"
    assert (grid[1].plans[0].student.training.epochs, grid[1].plans[0].student.seed) == (7, 0)


def test_overrides_reach_every_cell(cells):
    assert {c.plans[3].student.training.epochs for c in cells(GRID, ["training.epochs=4"])} == {4}


def test_a_scale_ranks_the_networks_of_all_cells(cells):
    text = "axes: {teacher: {small: {model: resnet20}, large: {model: resnet56}}}\nseeds: 1\n"
    recipe = "recipe: {data: {source: digits}, model: resnet8}\n"
    small, large = cells(text, scale="tiny", recipe=recipe)
    widths = [cell.plans[0].student.model.options["width"] for cell in (small, large)]
    assert widths == sorted(widths)
    assert len(set(widths)) == 2


def test_equal_stages_are_known_before_anything_runs(cells):
    text = "cells:\n  kd: {}\n  hot: {method.temperature: 9.0}\n  wide: {stages.teacher.model.width: 16}\nseeds: 2\n"
    kd, hot, wide = cells(text, recipe="recipe: digits/kd\n")
    keys = [[stage_keys(cell.plans[seed])["teacher"] for seed in (0, 1)] for cell in (kd, hot, wide)]
    assert keys[0] == keys[1]
    assert len({*keys[0], *keys[2]}) == 4


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (", cells: [pskd]", "", "s.yaml, cell 'baseline,alpha=0.3,width=narrow': unknown key 'alpha' in method"),
        ("model.width: 2", "model.widht: 2", "cell 'baseline,width=narrow': model 'cnn' has no option 'widht'"),
        ("model.width: 2", "method.alpha: 0.1", "the axis 'alpha' and the axis 'width' both set method.alpha: leave"),
        ("{method: pskd}", "{method: pskd, method.alpha: 1.0}", "the cell 'pskd' and the axis 'alpha' both set method"),
        ("[0.3, 0.8]", "[0.3, 8]", "cell 'pskd,alpha=8,width=narrow': method.alpha: must be at most 1; it is 8"),
        ("{method: cross_entropy}", "{seed: 4}", "the study's seeds and the cell 'baseline' both set seed"),
        ("baseline: {method: cross_entropy}", "baseline: [method]", "cell 'baseline': 'method': write key=value"),
        ("{method: cross_entropy}", "{method.name: kd, method: {name: kd}}", "method.name is set twice"),
        ("baseline: {method: cross_entropy}", "baseline: {recipe: digits/pskdd}", "did you mean 'digits/pskd'?"),
        ("{model: {width: 4}}", "{model: {width: 2}}", "and 'baseline,width=wide' are the same run"),
    ],
)  # fmt: skip
def test_contradictions_and_broken_cells_are_named(cells, old, new, reason):
    assert old in GRID
    with pytest.raises(LimbeckError) as told:
        cells(GRID.replace(old, new))
    assert reason in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("method.alpha=0.5", "the command line and the axis 'alpha' both set method.alpha"),
        ("seed=1", "the study's seeds and the command line both set seed"),
        ("training.epoch=1", "unknown key 'epoch' in training; did you mean 'epochs'?"),
        ("epochs", "'epochs': write key=value"),
    ],
)
def test_an_override_that_would_undo_the_grid_is_refused(cells, override, reason):
    with pytest.raises(LimbeckError, match=reason):
        cells(GRID, [override])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("seeds:", "seed:", "unknown key 'seed'; did you mean 'seeds'?"),
        ("[3, 5]", "[3, 3]", "seeds: name at least one, and each once"),
        ("[3, 5]", "0", "seeds: name at least one"),
        ("[3, 5]", "many", "seeds: must be a list; it is 'many'"),
        ("[3, 5]", "1\nthreads: 0", "threads: must be at least 1"),
        ("[3, 5]", "1\npairing: sed", "pairing: must be 'seed' or 'none'"),
        ("[3, 5]", "1\nsignificance: 1.5", "significance: must be less than 0.5"),
        ("[3, 5]", "1\nclaims: [{claim: a, sorce: b}]", "unknown key 'sorce' in claims.0; did you mean 'source'?"),
        ("cells: [pskd]", "cells: [psk]", "axes.alpha.cells: there is no cell 'psk'; did you mean 'pskd'?"),
        ("cells: [pskd]", "cells: []", "axis 'alpha': axes: cells is empty, so the axis would vary nothing: name some"),
        ("axes:\n", "axes:\nthreads:\n", "axes: must be a mapping of names to values; it is None"),
        ("cells: [pskd]", "cell: [pskd]", "axis 'alpha': unknown key 'cell' in axes; did you mean 'cells'?"),
        ("field: method.alpha, ", "", "axis 'alpha': axes: a list of values needs the field"),
        ("[0.3, 0.8]", "[[0.3], 0.8]", "the value [0.3] has no short name"),
        ("[0.3, 0.8]", "[0.3, 0.3]", "name each value once"),
        ("[0.3, 0.8]", "[]", "an axis has at least one value"),
        ("pskd: {method", "ps/kd: {method", "the name 'ps/kd' of a cell"),
        ("recipe:", "recipes:", "unknown key 'recipes'; did you mean 'recipe'?"),
    ],
)
def test_a_study_that_is_none_is_told_in_one_line(cells, old, new, reason):
    recipe = "recipe: digits/baseline\n"
    assert old in recipe + GRID
    with pytest.raises(LimbeckError) as told:
        cells(GRID.replace(old, new), recipe=recipe.replace(old, new))
    assert reason in str(told.value)
    assert "\n" not in str(told.value)


def test_the_shipped_studies_can_be_read_and_a_mistyped_one_is_told():
    assert "digits_quick" in study_names()
    for name in study_names():
        assert read_study(name).study.description
        # at its own scale, test_shipped_studies.py looks at it
        assert prepare(name, None, [], "tiny", "cpu", "").claims
    with pytest.raises(LimbeckError, match=r"there is no study 'digits_quik'; did you mean 'digits_quick'\?"):
        read_study("digits_quik")
    with pytest.raises(LimbeckError, match=r"there is no study file gone\.yaml"):
        read_study("gone.yaml")
