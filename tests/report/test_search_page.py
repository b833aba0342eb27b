"""A search's page and report: what they show, all of the validation split."""

import pytest

from limbeck.report.tune import cautions, next_command, print_search, report, trials_table, winners_table
from limbeck.report.tune_page import search_exhibits


def drawn(tuned, name):
    return next(one.drawing for one in search_exhibits(tuned) if one.name == name)


def test_the_winners_are_shown_with_what_the_recipe_does_as_written(tuned):
    rows = winners_table(tuned)
    assert [row["trials"] for row in rows] == ["4", "4", "4"]
    assert {row["failed"] for row in rows} == {"1"}
    assert rows[0]["as written"] == "25.00"
    assert rows[0]["best"] == "12.50"
    assert rows[0]["at"] == "method.alpha=0.25  method.temperature=3.5  optimiser.lr=0.02  schedule.warmup=1"
    (search, *_) = tuned.prepared.searches
    table = trials_table(tuned, search, tuned.trials[search.label])
    assert [row["trial"] for row in table] == ["1 (as written)", "2 (best)", "3", "4"]
    assert [row["Top-1 error %"] for row in table] == ["25.00", "12.50", "failed", "50.00"]


def test_the_terminal_has_the_best_trials_first(tuned, capsys):
    print_search(tuned)
    out = capsys.readouterr().out
    assert "Trials of digits/kd, best first" in out
    order = [out.index(mark) for mark in ("2 (best)", "1 (as written)", "\n  4 ", "\n  3 ")]
    assert order == sorted(order)
    assert "trial 3 of digits/kd failed: diverged" in out


def test_the_course_falls_and_fields_have_a_point_per_finished_trial(tuned):
    course = drawn(tuned, "course").data[0]
    assert list(course.x) == [1, 2, 3, 4]
    assert list(course.y) == pytest.approx([25, 12.5, 12.5, 12.5])
    rates = drawn(tuned, "field-optimiser-lr")
    assert [len(trace.x) for trace in rates.data] == [3, 3, 3]
    assert list(rates.data[0].x) == [0.1, 0.02, 0.03]
    assert list(rates.data[0].y) == pytest.approx([25, 12.5, 50])
    assert list(rates.data[0].marker.size) == [9, 15, 9]
    assert rates.layout.xaxis.type == "log"
    assert 0.02 in rates.layout.xaxis.tickvals
    assert drawn(tuned, "field-schedule-warmup").layout.xaxis.type == "category"
    # of methods that have it alone
    assert len(drawn(tuned, "field-method-temperature").data) == 1
    assert len(drawn(tuned, "field-method-alpha").data) == 2


def test_the_report_says_how_it_was_chosen_and_what_comes_next(tuned):
    text = report(tuned)
    assert "4 trials of 60 epochs for every recipe" in text
    assert "The test set was not used in choosing" in text
    assert next_command(tuned) in text
    assert "optuna" in text
    # a recipe of labels alone was searched along
    assert not any("disadvantage" in caution for caution in cautions(tuned))
