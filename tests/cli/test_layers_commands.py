"""`limbeck analyze --what cka, active, confusion` and `limbeck list layers`, from runs that are trained here."""

import csv
import json

import pytest
import safetensors.torch
import torch

SPLIT = {"splits": [{"student": 0, "layer": "layer2", "inherit": "inherit", "explore": "explore"}]}


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_two_runs_are_compared_layer_by_layer(tiny, done, refused, tmp_path):
    tiny("digits/baseline", "--folder", "a=1")
    tiny("digits/baseline", "peers=[{name: cnn, width: 3}]", "method=dml", "--folder", "pair")
    ran = done("analyze", "a=1", "pair/student-1", "--what", "cka", "--accelerator", "cpu")
    assert "layer of a=1" in ran.out
    assert "first half and second half" in ran.out
    assert "written: cka.html, cka.csv" in ran.out
    before = (tmp_path / "cka.csv").read_bytes()
    done("analyze", "a=1", "pair/student-1", "--what", "cka", "--out", "again/x.html")
    assert (tmp_path / "again/x.csv").read_bytes() == before
    done("analyze", "a=1", "--what", "cka", "--layers", "head, layer1.relu,head", "--images", "20")
    assert [line["layer"] for line in table(tmp_path / "a=1/cka.csv")][:4] == [
        "head",
        "head",
        "layer1.relu",
        "layer1.relu",
    ]
    said = refused("analyze", "a=1", "pair/student-1", "--what", "cka", "--layers", "layer3")
    assert said.startswith("--layers: there is no layer 'layer3' in a=1 or pair/student-1 that puts out a tensor; did")
    assert "needs at least 4 examples" in refused("analyze", "a=1", "--what", "cka", "--images", "3", after=2)
    assert refused("analyze", "a=1", "pair", "--what", "cka").startswith("pair has several students: name one")


def test_what_is_in_use_and_what_is_taken_for_what(tiny, done, tmp_path):
    tiny("digits/baseline", "--folder", "a")
    tiny("digits/pskd", "--folder", "b")
    split = {"inherit": torch.tensor([1, 4, 6]), "explore": torch.tensor([0, 2, 3, 5, 7])}
    about = {"limbeck": json.dumps(SPLIT)}
    safetensors.torch.save_file(split, tmp_path / "b/matchers.safetensors", about)
    ran = done("analyze", "a", "b", "--what", "active", "--images", "50", "--epsilon", "0.1")
    assert "active: network 2/2" in ran.err
    lines = table(tmp_path / "active.csv")
    assert [line["part"] for line in lines] == [
        "whole", "first half", "second half", "whole", "inheriting", "exploring",
    ]  # fmt: skip
    assert [line["channels"] for line in lines] == ["8", "4", "4", "8", "3", "5"]
    assert all(0 < int(line["directions"]) <= 9 for line in lines), "behind it are a mean and ten classes"
    done("analyze", "a", "--what", "active", "--layers", "layer1.bn")
    assert table(tmp_path / "a/active.csv")[0]["layer"] == "layer1.bn"
    ran = done("analyze", "a", "b", "--what", "confusion")
    assert "difference" in ran.out
    errors = [json.loads((tmp_path / run / "results.json").read_text())["students"]["student"]["last"]["error"]
              for run in "ab"]  # fmt: skip
    lines = table(tmp_path / "confusion.csv")
    for run, error in zip("ab", errors, strict=True):
        counts = [(int(line["count"]), line["true"] != line["said"]) for line in lines if line["network"] == run]
        assert sum(n for n, wrong in counts if wrong) / sum(n for n, _ in counts) == pytest.approx(error)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a b c --what cka", "--what cka takes 1 run folder or 2, not 3"),
        ("--what cka data.x=1", "--what cka takes 1 run folder or 2, not 0"),
        ("a --what cka --epsilon 0.1", "--epsilon is for --what active alone; leave it out"),
        ("a --what spread --layers x", "--layers is for --what cka and active alone; leave it out"),
        ("a --what confusion --images 9", "--images is for --what cka and active alone; leave it out"),
        ("a --what confusion --accelerator cpu", "--accelerator is for --what noise and cka and active"),
        ("a --what confusion data.x=1", "data.key=value is for --what confidence and noise and cka and active"),
        ("a --what cka --images 0", "Invalid value for '--images'"),
        ("a --what cka --layers ,", "--layers names no layer: give PATH, or PATH,PATH"),
        ("a --what active --layers a,b", "--what active looks at one layer of each network, not 2"),
        ("a --what cka", "a is no run folder: cannot read its recipe.yaml"),
        ("a --what active", "a is no run folder: cannot read its recipe.yaml"),
        ("a --what confusion", "a is no run folder: cannot read its recipe.yaml"),
    ],
)
def test_a_misuse_is_one_line(refused, words, expected):
    assert expected in refused("analyze", *words.split())


def test_layers_of_a_model_are_listed_as_they_end(done):
    shown = [line.split() for line in done("list", "layers", "resnet8", "--size", "16").out.splitlines()]
    assert ["layer1.0.add", "Add", "16×16×16", "1", "yes"] in shown
    assert ["layer3", "Sequential", "64×4×4", "1", "yes"] in shown
    assert ["head", "Linear", "10", "1"] in shown
    shown = done("list", "layers", "{name: cnn, width: 3}", "--channels", "1", "--classes", "7").out
    assert "12×8×8" in shown
    assert shown.splitlines()[-2].split() == ["head", "Linear", "7", "1"]
    assert "512×7×7" in done("list", "layers", "torchvision:resnet18", "--size", "224").out


def test_layers_of_a_run_are_those_of_its_network_and_images(tiny, done, refused):
    tiny("digits/baseline", "peers=[{name: cnn, width: 3}]", "method=dml", "--folder", "pair")
    shown = [line.split() for line in done("list", "layers", "pair/student-1").out.splitlines()]
    assert ["layer2", "Sequential", "12×2×2", "1", "yes"] in shown
    assert "12×4×4" in done("list", "layers", "pair/student-1", "--size", "16").out
    assert refused("list", "layers", "pair").startswith("pair has several students: name one of pair/student-0")
    assert refused("list", "layers", "pair/student-0", "--classes", "3").startswith("pair/student-0 knows its channels")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("layers", "limbeck list layers needs a MODEL"),
        ("layers resnet9", "model 'resnet9' is unknown; did you mean 'resnet8'?"),
        ("layers torchvision:vit_b_16 --size 10", "the network cannot read images of 3×10×10"),
        ("layers {", "broken YAML"),
        ("layers {width:3}", "{width:3} names no model"),
        ("layers .", ". is no run folder"),
        ("models resnet8", "MODEL is for limbeck list layers alone; leave it out"),
        ("methods --size 3", "--size is for limbeck list layers alone; leave it out"),
    ],
)
def test_a_misuse_of_list_is_one_line(refused, words, expected):
    assert expected in refused("list", *words.split())
