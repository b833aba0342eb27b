"""The HTML page: one file that works offline, in which a user's words are words."""

import pytest
from jinja2 import Environment, PackageLoader
from pages import Tags

from limbeck.errors import LimbeckError
from limbeck.report.compare import group, read_runs
from limbeck.report.drawing import words
from limbeck.report.page import write_page

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def page(finished, tmp_path):
    """Return a function that writes a page of two groups and returns its text."""

    def write(title="Comparison", name="b", which="last", **evil):
        runs = [finished(f"a{seed}", seed) for seed in (0, 1)]
        runs += [
            finished(f"{name}{seed}", seed, {"nll": 0.3}, recipe={"method": {"name": "pskd"}, **evil})
            for seed in (0, 1)
        ]
        write_page(group(read_runs(runs)), which, tmp_path / "page.html", title)
        return (tmp_path / "page.html").read_text()

    return write


@pytest.mark.parametrize("which", ["last", "best"])
def test_the_page_is_one_file_with_the_table_and_three_drawings(page, which):
    text = page(which=which)
    tags = Tags(text)
    assert text.count("Plotly.newPlot(") == 3
    assert text.count("* plotly.js v") == 1
    assert [attributes for tag, attributes in tags.found if tag in {"link", "img", "iframe", "object", "embed"}] == []
    assert all("src" not in attributes for tag, attributes in tags.found if tag == "script")
    assert not any(str(value).startswith(("http:", "https:", "//")) for _, a in tags.found for value in a.values())
    words = "".join(tags.text)
    assert f"Test set, {which} weights" in words
    assert "Paired by seed" in words
    assert "Reliability" in words


def test_a_malicious_name_does_not_become_a_tag(page):
    text = page(title=EVIL, name="<img src=x onerror=alert(1)>", method={"name": EVIL})
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    tags = Tags(text)
    assert "img" not in {tag for tag, _ in tags.found}
    assert "<img src=x" not in text


def test_damaged_predictions_are_named_and_no_page_is_written(page, finished, tmp_path):
    folder = finished("c", 0)
    (folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(LimbeckError, match=r"c/predictions\.npz is missing or damaged"):
        write_page(group(read_runs([folder])), "last", tmp_path / "page.html", "one")
    assert not (tmp_path / "page.html").exists()


def test_columns_of_words_are_read_from_the_left():
    rows = [
        {"cell": "a", "n": "3", "verdict": "undecided", "seeds": "664", "what": "KD, T 4"},
        {"cell": "b", "n": "–", "verdict": "–", "seeds": "more than 1000", "what": "labels <alone>"},
    ]
    loader = PackageLoader("limbeck.report", "")
    environment = Environment(loader=loader, autoescape=True)
    environment.filters["words"] = words
    tags = Tags(environment.from_string("{% from 'grid.html' import grid %}{{ grid(rows) }}").render(rows=rows))
    found = [attributes.get("class") for tag, attributes in tags.found if tag in {"th", "td"}]
    assert found == ["words", None, "words", None, "words"] * 3
