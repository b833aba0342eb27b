"""A study's page: its claims, its axes, its figures; and what is written of it into files."""

import sys

import numpy as np
import pytest
from browser import BROWSER
from pages import EVIL, LATER, Tags

from limbeck.errors import LimbeckError
from limbeck.report.capacity import capacities
from limbeck.report.drawing import COLOURS
from limbeck.report.export import tex
from limbeck.report.forest import LOOKS, forest
from limbeck.report.study import progress_of
from limbeck.report.study_page import export_study, places_of, write_study, write_study_page

PAIR = {
    "description": f"Is it? {EVIL}",
    "cells": {"a": {}, "b": {"method": "pskd"}, "c": {"method": "label_smoothing"}},
    "seeds": 4,
    "claims": [
        {"claim": "error(b) < error(a)", "source": f"table 1 {EVIL}"},
        "error(c) < error(a)",
        "nll(b) < nll(a)",
        "error(b) + 0.01 * nll(a) < error(a) - 1%",
    ],
}
WIDTHS = {
    "cells": {"a": {}, "b": {"method": "pskd"}, "plain": {"method": "label_smoothing"}},
    "axes": {"width": {"field": "model.width", "values": [16, 2, 4], "cells": ["a", "b"]}},
    "seeds": 3,
}


def pair(cell, seed):
    """b is better than a in error, c is worse, and of nll nothing can be said."""
    error = {"a": 0.10, "b": 0.08, "c": 0.13}[cell.name] + 0.001 * (seed * ord(cell.name) % 3)
    return {"error": error, "nll": 0.4 + 0.01 * ((seed * 7 + len(cell.name) * ord(cell.name[0])) % 5)}


def widths(cell, seed):
    return {"error": 0.5 / float(cell.at.get("width", 8)) + 0.01 * seed}


def data(drawing, name):
    return [trace for trace in drawing.data if trace.name == name]


def test_the_forest_has_each_claim_with_its_interval_and_verdict(outcome):
    found = outcome(PAIR, pair)
    one = forest(found.judged)
    points = [trace for trace in one.drawing.data if trace.error_x.array is not None]
    assert len(points) == len(PAIR["claims"])
    first = next(
        p for p, judged in zip(points, found.judged, strict=True) if judged.claim.text == "error(b) < error(a)"
    )
    measured = found.judged[0].verdict.measured
    assert first.x[0] == pytest.approx(100 * measured.mean)
    assert first.x[0] + first.error_x.array[0] == pytest.approx(100 * measured.high)
    assert first.x[0] - first.error_x.arrayminus[0] == pytest.approx(100 * measured.low)
    by_panel = sorted(found.judged, key=lambda judged: judged.claim.metrics != ["error"])
    assert [p.name for p in points] == [judged.verdict.decision for judged in by_panel]
    assert {p.name for p in points} >= {"supported", "contradicted"}
    assert all((p.marker.color, p.marker.symbol) == LOOKS[p.name] for p in points)
    assert len(one.rows) == len(one.numbers) == 4
    # the shaded side is the claimed one: all claims here are "<"
    assert all(shape.x1 < 0 for shape in one.drawing.layout.shapes if shape.type == "rect")


def test_one_seed_has_points_without_intervals_and_a_failed_cell_none(outcome):
    found = outcome(PAIR | {"seeds": 1}, lambda cell, seed: None if cell.name == "c" else pair(cell, seed))
    points = [trace for trace in forest(found.judged).drawing.data if trace.error_x.array is not None]
    assert [p.error_x.array[0] for p in points] == [0, 0, 0]
    alone = outcome(PAIR | {"seeds": 1, "claims": ["error(c) < error(a)"]}, lambda cell, seed: None)
    assert forest(alone.judged) is None


def test_capacity_curves_follow_the_axis_with_bands_and_levels(outcome):
    found = outcome(WIDTHS, widths)
    (one,) = capacities({"width": ["16", "2", "4"]}, places_of(found))
    line = data(one.drawing, "a")[0]
    assert list(line.x) == [2, 4, 16]
    assert line.y == pytest.approx([26, 13.5, 4.125])
    assert one.drawing.layout.xaxis.type == "log"
    band = next(trace for trace in one.drawing.data if trace.fill == "toself")
    half = 4.302652729749464 * 1 / np.sqrt(3)  # of 0, 1 and 2 points, whose deviation is 1
    assert band.y[0] == pytest.approx(26 + half)
    assert band.y[-1] == pytest.approx(26 - half)
    level = data(one.drawing, "plain")[0]
    assert list(level.x) == [2, 16]
    assert level.y == pytest.approx([7.25, 7.25])
    assert one.labels == ["a", "b", "plain, without width"]
    assert one.rows[0]["width=2"] == f"26.00 ± {half:.2f}"


def test_names_on_an_axis_keep_their_order(outcome):
    axes = {"size": {"large": {"model.width": 8}, "a-small-one": {"model.width": 2}}}
    found = outcome({"axes": axes, "seeds": 2}, lambda cell, seed: {"error": 0.1 + 0.1 * seed})
    (one,) = capacities({"size": ["large", "a-small-one"]}, places_of(found))
    assert one.drawing.layout.xaxis.type == "category"
    assert list(data(one.drawing, "all")[0].x) == ["large", "a-small-one"]


def test_the_page_has_it_all_in_one_file(outcome, tmp_path):
    write_study_page(outcome(PAIR, pair), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    tags = Tags(text)
    words = "".join(tags.text)
    parts = ("Error against size", "Error against training time", "Learning", "Reliability", "Risk-coverage")
    for expected in (
        "error(b) < error(a)",
        "supported",
        "↳ reference",
        "limbeck study s.yaml",
        "95 % interval",
        *parts,
    ):
        assert expected in words, expected
    assert EVIL in words
    assert EVIL not in text
    assert not {tag for tag, _ in tags.found} & {"img", "link", "iframe", "object", "embed"}
    assert not any(str(value).startswith(("http:", "https:", "//")) for _, a in tags.found for value in a.values())
    assert text.count("* plotly.js v") == 1
    ids = [a["id"] for _, a in tags.found if "id" in a]
    assert len(ids) == len(set(ids))
    exhibits = [a for tag, a in tags.found if tag == "section"]
    assert text.count("The same as a table") == len(exhibits) - 1  # the claims' table stands open below them


def test_a_page_says_what_failed_and_is_there_when_everything_did(outcome, tmp_path):
    write_study_page(outcome(PAIR, lambda cell, seed: None), tmp_path / "report.html")
    words = "".join(Tags((tmp_path / "report.html").read_text()).text)
    assert "12 failed runs" in words
    assert f"a-seed0: ran out of {EVIL}" in words


def test_a_study_that_is_being_made_says_how_far_it_is_and_decides_for_good(outcome, tmp_path):
    def begun(cell, seed):
        return LATER if cell.name == "c" and seed == 3 else pair(cell, seed)

    found = outcome(PAIR, begun)
    write_study(found, tmp_path)
    words = "".join(Tags((tmp_path / "report.html").read_text()).text)
    text = (tmp_path / "report.md").read_text()
    for shown in (words, text):
        assert "11 of 12 runs are finished, 1 is still to be made." in shown
        assert "not decided: cell c has no finished run of seed 3" in shown
    assert words.index("11 of 12") < words.index("Claims")
    assert text.splitlines()[2].startswith("11 of 12")
    # corrected as if the claim that waits had been tested: the smallest of four, although three are there
    first = found.judged[0].verdict
    assert first.corrected == pytest.approx(4 * first.measured.p)
    assert first.decision == "supported"


@pytest.mark.parametrize("missing", [LATER, None])
def test_a_study_of_which_all_runs_have_ended_says_nothing_of_progress(outcome, missing):
    found = outcome(PAIR, lambda cell, seed: missing if cell.name == "c" else pair(cell, seed))
    said = progress_of(found)
    assert said.startswith("8 of 12 runs are finished, 4 are still to be made.") if missing is LATER else said == ""


def test_tables_go_into_csv_and_latex(outcome, tmp_path, capsys):
    export_study(outcome(PAIR, pair), tmp_path / "t", None)
    names = {path.name for path in (tmp_path / "t").iterdir()}
    assert {"results.csv", "results.tex", "claims.csv", "claims.tex", "reliability.csv", "learning.csv"} <= names
    assert sorted(names) == sorted(capsys.readouterr().out.strip().split(": ")[1].split(", "))
    claims = (tmp_path / "t/claims.tex").read_text()
    assert r"error(b) \textless{} error(a) & supported &" in claims
    rows = [row for row in claims.splitlines() if row.endswith(r"\\")]
    assert len({row.replace(r"\&", "").count("&") for row in rows}) == 1
    line = (tmp_path / "t/claims.csv").read_text().splitlines()[0]
    assert line.startswith("claim,source,says,verdict,why,seeds,difference,low,high")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & $x_1$ #2", r"50 \% \& \$x\_1\$ \#2"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a~b^c<d>|\"", r"a\textasciitilde{}b\textasciicircum{}c\textless{}d\textgreater{}\textbar{}\textquotedbl{}"),
        ("1 ± 2 − 3 … ↳ ä", r"1 $\pm$ 2 $-$ 3 \dots{} $\hookrightarrow$ ä"),
        ("two\n\nlines", "two lines"),
        ("日本", "??"),
    ],
)  # fmt: skip
def test_latex_prints_what_is_written(text, expected):
    assert tex(text) == expected


def test_what_figures_need_is_said_in_one_line(outcome, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(LimbeckError, match=r"^figures as files need Kaleido: pip install 'limbeck\[figures\]'$"):
        export_study(outcome(PAIR, pair), None, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_figures_go_into_svg_and_png(outcome, tmp_path, capsys):
    pytest.importorskip("kaleido", reason="the extra limbeck[figures] is not installed")
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    export_study(outcome(WIDTHS | {"claims": ["error(a) < error(b)"]}, widths), None, tmp_path / "f")
    names = {path.name for path in (tmp_path / "f").iterdir()}
    assert {"claims.svg", "claims.png", "error-by-width.svg", "learning.png"} <= names
    assert (tmp_path / "f/learning.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "f/error-by-width.svg").read_text()
    assert svg.startswith("<svg")
    assert "Error against width" in svg
    assert sorted(names) == sorted(capsys.readouterr().out.strip().split(": ")[1].split(", "))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_stands_out_from_white():
    for colour in [*COLOURS, *(look[0] for look in LOOKS.values())]:
        assert 1.05 / (luminance(colour) + 0.05) >= 3, colour  # what WCAG 2.2 asks of graphics
