"""`limbeck analyze --what relevance`: maps of networks that are trained here."""

import csv
import json
import sys

import pytest
import safetensors.torch
import torch

SPLIT = {"splits": [{"student": 0, "layer": "layer2", "inherit": "inherit", "explore": "explore"}]}


@pytest.fixture
def lines(tmp_path):
    """Return a function that reads the numbers beside a page."""

    def read(folder="."):
        with (tmp_path / folder / "relevance.csv").open() as file:
            return list(csv.DictReader(file))

    return read


def test_every_student_has_its_maps_and_the_parts_of_a_split_one_theirs(tiny, done, lines, tmp_path):
    tiny("digits/baseline", "--folder", "alone")
    tiny("digits/baseline", "peers=[{name: wrn_10_1}]", "method=dml", "--folder", "pair")
    channels = {"inherit": torch.arange(3), "explore": torch.arange(3, 8)}
    safetensors.torch.save_file(channels, tmp_path / "alone/matchers.safetensors", {"limbeck": json.dumps(SPLIT)})
    ran = done("analyze", "alone", "pair", "--what", "relevance", "--count", "2", "--accelerator", "cpu")
    assert ran.out == "written: relevance.html, relevance.csv\n"
    found = lines()
    columns = [("alone", "whole"), ("alone", "inherits"), ("alone", "explores")]
    columns += [("pair/student-0", "whole"), ("pair/student-1", "whole")]
    assert [(line["network"], line["part"]) for line in found] == 2 * columns
    assert [line["image"] for line in found] == 5 * ["0"] + 5 * ["1"]
    for line in found:
        if line["part"] == "whole":
            assert float(line["relevance"]) == pytest.approx(float(line["logit"]), rel=1e-4)
            assert float(line["gap"]) == pytest.approx(abs(float(line["relevance"]) - float(line["logit"])))
        else:
            assert line["gap"] == ""
    assert sum(float(line["relevance"]) for line in found[1:3]) == pytest.approx(float(found[0]["relevance"]), rel=1e-4)
    page = (tmp_path / "relevance.html").read_text()
    assert page.count("<img") == 2 * 6
    assert "inherits, layer2" in page
    assert "pair/student-1 (wrn_10_1, dml)" in page
    assert "https://" not in page
    before = (tmp_path / "relevance.csv").read_bytes()
    done("analyze", "alone", "pair", "--what", "relevance", "--count", "2", "--out", "again/x.html")
    assert (tmp_path / "again/x.csv").read_bytes() == before


def test_six_images_by_default_and_no_more_than_there_are(tiny, done, images, recipe, lines, tmp_path):
    tiny("digits/baseline", "--folder", "a")
    done("evaluate", "a")
    done("analyze", "a", "--what", "relevance")
    assert len(lines("a")) == 6
    assert (tmp_path / "a/report.html").read_text().count("&lt;img") == 2 * 6, "shown within"
    done("train", recipe(images("pets", "<b>cat", "dog")), "--folder", "b")
    done("analyze", "b", "--what", "relevance", "--count", "40")
    assert len(lines("b")) == 12
    assert not (tmp_path / "b/report.html").exists()
    page = (tmp_path / "b/relevance.html").read_text()
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat" in page
    (tmp_path / "pets").rename(tmp_path / "moved")
    done("analyze", "b", f"data.source.root={tmp_path / 'moved'}", "--what", "relevance", "--count", "1")


def test_what_does_not_do_is_one_line(tiny, done, refused, images, recipe, monkeypatch, tmp_path):
    tiny("digits/baseline", "--folder", "a")
    done("train", recipe(images("pets", "cat", "dog")), "--folder", "b")
    assert "different test sets" in refused("analyze", "a", "b", "--what", "relevance")
    images("others", "cat", "dog", count=7)
    said = refused("analyze", "b", "data.source.root=others", "--what", "relevance")
    assert "not those that it was tested on" in said
    broken = {"inherit_channels": torch.arange(3)}
    safetensors.torch.save_file(broken, tmp_path / "a/matchers.safetensors")
    said = refused("analyze", "a", "--what", "relevance")
    assert said == "a/matchers.safetensors is damaged; remove its folder and train again"
    monkeypatch.setitem(sys.modules, "zennit", None)
    said = refused("analyze", "a", "--what", "relevance")
    assert said == "relevance maps need zennit, which is not installed: pip install 'limbeck[relevance]'"


def test_an_architecture_that_cannot_be_followed_is_named_with_its_run(images, recipe, done, refused, tmp_path):
    name = recipe(images("pets", "cat", "dog"))
    text = (tmp_path / name).read_text().replace("size: 8", "size: 32")
    (tmp_path / name).write_text(text.replace("{name: cnn, width: 2}", "torchvision:mobilenet_v3_small"))
    done("train", name, "--folder", "a")
    said = refused("analyze", "a", "--what", "relevance", "--count", "1")
    assert said.startswith("a: relevance cannot be followed: ")
    assert "(Mul)" in said
    assert not (tmp_path / "relevance.html").exists()
