"""Runs of detectors, which have mAP and none of a classifier's figures: tables, pages and studies of them."""

import json

import pytest
from pages import Tags

from limbeck.errors import LimbeckError
from limbeck.report.compare import csv, group, read_runs, table
from limbeck.report.export import comparison_tables
from limbeck.report.page import exhibits, renew_report, write_page, write_report
from limbeck.report.study import report
from limbeck.report.study_page import write_study_page
from limbeck.report.summary import better, results_table
from limbeck.report.teacher_size import write_capacity
from limbeck.report.text import comparison, print_comparison, print_figures

NAMES = ["VOC mAP %", "VOC07 mAP %", "AP %", "AP50 %", "AP75 %"]
KD = {"method": {"name": "kd", "alpha": 0.9, "temperature": 4.0}}


@pytest.fixture
def groups(detector):
    """Return two groups of detectors, of two seeds each."""
    runs = [detector(f"a{seed}", seed, {"ap": 0.2 + seed / 100}) for seed in (0, 1)]
    runs += [detector(f"kd{seed}", seed, {"ap": 0.25 + seed / 50}, recipe=KD) for seed in (0, 1)]
    return group(read_runs(runs))


def test_the_five_columns_are_printed_and_paired(groups, capsys):
    rows = table(groups, "last")
    assert list(rows[0]) == ["group", "n", *NAMES]
    assert rows[0]["AP %"] == "20.50 ± 0.71"
    print_comparison(groups, "last")
    print_figures([run for one in groups for run in one.runs.values()])
    said = capsys.readouterr().out
    assert said.count("VOC07 mAP %") == 3
    assert "+5.50 ± 6.35" in said
    assert "| +5.50 ± 6.35, p 0.058 |" in comparison(groups, "last")
    assert csv(groups, "last").splitlines()[0] == "group,seed,folder,voc_map,voc07_map,ap,ap50,ap75"
    assert [list(one.rows[0])[1:] for one in comparison_tables(groups, "last")] == [["n", *NAMES], ["pairs", *NAMES]]


def test_the_page_has_no_empty_part(groups, tmp_path):
    write_page(groups, "last", tmp_path / "page.html", "Detectors")
    text = (tmp_path / "page.html").read_text()
    words = "".join(Tags(text).text)
    assert "Higher is better in every column." in words
    # The training error, which is of anchors, is no error by epoch.
    assert text.count("Plotly.newPlot(") == 2
    assert "VOC mAP % against size" in words
    assert "Left and high is better." in words
    assert "Learning" not in words
    drawn = exhibits(groups, "last")
    assert [one.name for one in drawn] == ["voc_map-against-parameters", "voc_map-against-seconds"]
    for one in drawn:
        assert [row["VOC mAP %"] for row in one.rows] == ["40.00 ± 0.00"] * 2
        assert one.drawing.layout.yaxis.title.text == "test VOC mAP %"
        assert [line["voc_map_percent"] for line in one.numbers] == pytest.approx([40, 40])


def test_a_detector_is_learning_where_it_is_validated(detector):
    groups = group(read_runs([detector("a", best=True)]))
    (learning,) = exhibits(groups, "best")
    assert [(line["curve"], line["error_percent"]) for line in learning.numbers] == [
        ("validation", pytest.approx(90)),
        ("validation", pytest.approx(45)),
    ]
    assert "1 − AP50" in learning.about


def test_the_report_of_one_run_has_no_empty_heading(detector):
    folder = detector("a")
    write_report(folder, "last")
    text = (folder / "report.html").read_text()
    assert 'href="#figures"' not in text
    assert '<h2 id="figures">' not in text
    assert "40.00" in text
    (folder / "boxes.html").write_text("<p>drawn</p>")
    assert renew_report(folder)
    assert "<summary>boxes</summary>" in (folder / "report.html").read_text()


def test_which_way_is_up_is_said_of_mixed_columns(detector, finished):
    runs = read_runs([detector("a"), finished("b", figures={"bleu": 0.3})])
    assert better(group(runs[1:]), "last") == "Higher is better in BLEU, lower in the others."
    mixed = group(runs)
    assert results_table(mixed, "last")[0]["Top-1 error %"] == "–"
    assert next(one.name for one in exhibits(mixed, "last")) == "learning"


def test_a_study_of_detectors_has_its_verdicts_and_curves(outcome, tmp_path):
    study = {
        "cells": {"a": {}},
        "axes": {"width": {"field": "model.width", "values": [2, 4]}},
        "seeds": 3,
        "claims": ["voc_map(width=4) > voc_map(width=2)"],
    }

    def figures(cell, seed):
        return {"voc_map": 0.1 * float(cell.at["width"]) * (1 + 0.01 * seed)}

    judged = outcome(study, figures)
    for made in (one for runs in judged.runs.values() for one in runs.values()):
        values = {"voc_map": made.students["student"]["last"]["voc_map"], "ap": 0.1}
        made.students["student"] = {"last": values}
        results = json.loads((made.folder / "results.json").read_text())
        (made.folder / "results.json").write_text(json.dumps(results | {"students": made.students}))
        with (made.folder / "recipe.yaml").open("a") as file:
            file.write("task: {name: detection}\n")
    assert judged.judged[0].verdict.decision == "supported"
    assert "| cell | n | VOC mAP % | AP % |" in report(judged)
    write_study_page(judged, tmp_path / "study.html")
    words = "".join(Tags((tmp_path / "study.html").read_text()).text)
    assert "Higher is better in every column." in words
    assert "VOC mAP % against width" in words
    assert "last weights: mean ± half" in words
    assert "Top-1" not in words


def test_the_picture_of_errors_by_teacher_is_refused_in_one_line(detector, tmp_path):
    with pytest.raises(
        LimbeckError, match="a classifies no images, and this looks at how images are classified: name another run"
    ):
        write_capacity([detector("a")], tmp_path / "page.html")
