"""The pages in a real browser, on a phone as on a desk: nothing is fetched, nothing complained of, nothing is cut."""

import json

import pytest
import yaml
from browser import BROWSER, Browser, Page
from pages import EVIL

from limbeck.report.compare import group, read_runs
from limbeck.report.page import write_page, write_report
from limbeck.report.study_page import write_study_page
from limbeck.report.tune_page import write_search_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open pages with")

LONG = "a_very_long_name_without_any_place_to_break_it_" * 4
GRID = {
    "description": f"Thirty cells. {EVIL}",
    "cells": {"a": {}, "b": {"method": "pskd"}, LONG[:100]: {"method": "label_smoothing"}},
    "axes": {"width": {"field": "model.width", "values": [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]}},
    "seeds": 2,
    "claims": [
        {"claim": f"error({LONG[:100]}, width=1) < error(a, width=1)", "source": EVIL},
        "error(b) < error(a)",
        "nll(b) - nll(a) > nll(b, width=1) - nll(a, width=32) + 0.5",
    ],
}
WIDTHS = (390, 1280)
# what is wider than its place: the page, or a drawing in its card
STICKS_OUT = """
[document.documentElement, ...document.querySelectorAll('.exhibit')]
  .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.id || one.tagName)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def opened(browser):
    """Return a function that opens a page at a width, after the checks that every page must pass."""

    def check(path, width):
        page = Page(browser)
        page.open(path, width)
        assert page.run("document.documentElement.clientWidth") <= width
        assert page.run(STICKS_OUT) == []
        assert page.errors == []
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "data"}
        assert [url for url in page.requests if url.startswith("file:")] == [path.resolve().as_uri()]
        assert page.run("document.title") != "owned"
        assert page.run("document.querySelectorAll('body img').length") == 0
        drawn = page.run(
            "[...document.querySelectorAll('.js-plotly-plot')].map(one => !!one.querySelector('.main-svg'))"
        )
        assert drawn
        assert all(drawn)
        return page

    return check


@pytest.fixture
def grid(outcome, tmp_path):
    def figures(cell, seed):
        return {"error": 0.4 / int(cell.at["width"]) + 0.01 * seed + 0.001 * len(cell.name), "nll": 1 + 0.1 * seed}

    write_study_page(outcome(GRID, figures), tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_study_of_thirty_hostile_cells(grid, opened, width):
    page = opened(grid, width)
    words = page.run("document.body.innerText")
    assert "error(b) < error(a)" in words
    assert LONG[:100] in words
    assert EVIL in words
    # its claims are in the drawing, each as it is written
    drawn = page.run("document.querySelector('#claims svg.main-svg').parentNode.textContent")
    assert "error(b) < error(a)" in drawn
    assert page.run("document.querySelectorAll('#learning [data-group]').length") == 30
    # a table for every figure
    tables = page.run(
        "[...document.querySelectorAll('.exhibit')].filter(one => !one.querySelector('table')).map(one => one.id)"
    )
    assert tables == ["claims"]


def test_a_name_hides_what_it_stands_for_in_every_figure(grid, opened):
    page = opened(grid, 1280)
    visible = """[...document.querySelectorAll('.exhibit:not([data-own]):not(#claims) .js-plotly-plot')].map(
        plot => plot.data.filter(one => one.legendgroup && one.visible !== false).length)"""
    before = page.run(visible)
    page.run("document.querySelector('#learning [data-group=\"0\"]').click()")
    assert all(now < then for now, then in zip(page.run(visible), before, strict=True))
    assert page.run("document.querySelector('#reliability [data-group=\"0\"]').ariaPressed") == "false"
    page.run("document.querySelector('#learning [data-all=false]').click()")
    assert set(page.run(visible)) == {0}
    page.run("document.querySelector('#learning [data-all=true]').click()")
    assert page.run(visible) == before


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_with_references(finished, opened, tmp_path, width):
    runs = []
    for seed in (0, 1):
        for name, extra in (("a", {}), ("b", {"method": {"name": LONG + EVIL}})):
            folder = finished(f"{name}{seed}", seed, {"error": 0.1 + seed / 50}, recipe=extra)
            tree = yaml.safe_load((folder / "recipe.yaml").read_text())
            (folder / "recipe.yaml").write_text(yaml.safe_dump(tree | {"reference": {"source": EVIL, "error": 9.9}}))
            results = json.loads((folder / "results.json").read_text())
            cost = {"parameters": {"student": 500 if name == "a" else 70_000}, "seconds_of_last_session": 3.0 + seed}
            (folder / "results.json").write_text(json.dumps(results | cost))
            runs.append(folder)
    write_page(group(read_runs(runs)), "last", tmp_path / "page.html", f"Comparison {EVIL}")
    page = opened(tmp_path / "page.html", width)
    words = page.run("document.body.innerText")
    assert "↳ reference" in words
    assert "9.90" in words
    assert "Error against size" in words
    assert EVIL in words


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_shows_its_pictures_within_itself(finished, opened, tmp_path, width):
    folder = finished("a")
    write_page(group(read_runs([folder])), "last", folder / "confusion.html", "the picture within")
    (folder / "relevance.html").write_text("<!doctype html><title>r</title><p>a page without drawings</p>")
    write_report(folder, "last")
    assert len((folder / "report.html").read_text()) < 1.5 * len((folder / "confusion.html").read_text())
    page = opened(folder / "report.html", width)
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    inside = "[...document.querySelectorAll('iframe')].map(one => one.contentDocument)"
    page.run("document.querySelectorAll('iframe').forEach(one => one.scrollIntoView())")
    there = f"{inside}.every(one => one.querySelector('p'))"
    wait = f"new Promise(done => {{ const look = () => {there} ? done() : setTimeout(look, 50); look(); }})"
    page.run(wait)
    assert page.run(f"{inside}[1].body.innerText") == "a page without drawings"
    page.run("new Promise(done => setTimeout(done, 1000))")
    assert page.run(f"{inside}[0].querySelectorAll('.main-svg').length") > 0
    assert page.errors == []
    assert page.run(STICKS_OUT) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_search_of_hostile_recipes(tuned, opened, tmp_path, width):
    write_search_page(tuned, tmp_path / "page.html")
    page = opened(tmp_path / "page.html", width)
    words = page.run("document.body.innerText")
    assert "Over optimiser.lr" in words
    assert f"diverged {EVIL}" in words
    assert page.run("document.querySelectorAll('#course [data-group]').length") == 3
    assert page.run("document.querySelectorAll('#field-method-temperature [data-group]').length") == 1
