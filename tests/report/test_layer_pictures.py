"""The pages of CKA and of what is in use, on networks whose features are known."""

import csv
import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from pages import Tags
from torch import nn

from limbeck.analysis import active_subspace_dimension, linear_cka
from limbeck.data.examples import Members
from limbeck.data.resident import ResidentExamples
from limbeck.errors import LimbeckError
from limbeck.report import likeness, networks
from limbeck.report.active import write_active
from limbeck.report.cka import write_cka
from limbeck.report.confusion import write_confusion
from limbeck.teachers.teacher import Inputs, Teacher
from limbeck.train.progress import Display

SPLIT = {"splits": [{"student": 0, "layer": "layer2", "inherit": "inherit", "explore": "explore"}]}


class Net(nn.Module):
    """Two convolutions with a ReLU each; `aside.dead` puts out nothing but zeros, `aside.twice` runs twice."""

    def __init__(self, seed, channels=6):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer1 = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
            self.layer2 = nn.Sequential(nn.Conv2d(4, channels, 3), nn.ReLU())
            self.head = nn.Linear(channels, 4)
        self.aside = nn.ModuleDict({"dead": nn.ReLU(), "twice": nn.Identity()})

    def forward(self, view):
        x = self.layer2(self.layer1(self.aside["twice"](self.aside["twice"](view))))
        self.aside["dead"](-x)
        return self.head(x.mean((2, 3)))


def make_test(count=40):
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    members = Members(np.arange(count) + 100, np.arange(count) % 4, 100 + count, tuple("abcd"))
    return ResidentExamples(pixels, members, mean=(0.4,), std=(0.3,), views=(), mix=None, device="cpu")


@pytest.fixture
def nets(monkeypatch):
    """Make fixed images the test set of every run, and fixed networks their students, by the runs' names."""
    test = make_test()
    known = {"a": Net(0), "b": Net(1, channels=7), "pair": Net(2)}
    inputs = Inputs(test.classes, 1, test.mean, test.std)

    def load(choice, data):
        return Teacher(known[choice.run.rpartition("/")[2]], inputs)

    monkeypatch.setattr(networks, "test_examples", lambda run, overrides, device: test)
    monkeypatch.setattr(networks, "load_teacher", load)
    return test, known


@pytest.fixture
def run(finished, nets):
    """Return a function that writes a run's folder, on the same test images; the channels in `split` inherit."""

    def write(name, split=None, **options):
        folder = finished(name, test=nets[0].fingerprint, **options)
        if split is not None:
            rest = [i for i in range(6) if i not in split]
            tensors = {"inherit": torch.tensor(split), "explore": torch.tensor(rest)}
            about = {"limbeck": json.dumps(SPLIT)}
            safetensors.torch.save_file(tensors, folder / "matchers.safetensors", about)
        return folder

    return write


def draw_cka(runs, out, paths=None, images=100):
    with Display(silent=True) as display:
        return write_cka(runs, [], paths, out, display, images=images, accelerator="cpu")


def draw_active(runs, out, layer=None, images=100, epsilon=0.05):
    with Display(silent=True) as display:
        return write_active(runs, [], layer, out, display, images=images, epsilon=epsilon, accelerator="cpu")


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def features(net, test):
    """All features at once, in float64."""
    (batch,) = test.in_order(500)
    with torch.no_grad():
        first = net.layer1(batch.views[0])
        return {"layer1": first.flatten(1).double(), "layer2": net.layer2(first).double()}


def test_the_heat_map_is_the_cka_of_all_features_at_once_whatever_the_batches(run, nets, tmp_path, monkeypatch):
    test, known = nets
    runs = [run("a"), run("b")]
    rows, halves = draw_cka(runs, tmp_path / "x.html")
    lines = table(tmp_path / "x.csv")
    own, other = features(known["a"], test), features(known["b"], test)
    expected = [linear_cka(own[x].flatten(1), other[y].flatten(1)) for x in own for y in other]
    expected += [
        linear_cka(each["layer2"][:, :3].flatten(1), each["layer2"][:, 3:].flatten(1)) for each in (own, other)
    ]
    assert [float(line["cka"]) for line in lines] == pytest.approx([float(one) for one in expected], rel=1e-4)
    assert [(line["layer"], line["other_layer"]) for line in lines] == [
        ("layer1", "layer1"), ("layer1", "layer2"), ("layer2", "layer1"), ("layer2", "layer2"),
        *[("layer2, first half", "layer2, second half")] * 2,
    ]  # fmt: skip
    assert [line["undefined"] for line in lines] == [""] * 6
    assert rows[1][f"layer of {runs[0]}"] == "layer2"
    assert rows[1][f"CKA with the same of {runs[1]}"] == f"{float(expected[3]):.4f}"
    assert halves[1]["channels"] == "3 and 4"
    assert (tmp_path / "x.html").read_text().count("Plotly.newPlot(") == 1
    # many batches, each heard again and again
    monkeypatch.setattr(likeness, "_KEPT_NUMBERS", 2 * 7 * 2 * (4 * 36 + 7 * 16))
    draw_cka(runs, tmp_path / "y.html")
    assert [float(line["cka"]) for line in table(tmp_path / "y.csv")] == pytest.approx(
        [float(line["cka"]) for line in lines], rel=1e-6
    )


def test_a_run_with_itself_leaves_the_diagonal_out_of_the_table(run, tmp_path):
    rows, _ = draw_cka([run("a")], tmp_path / "x.html")
    assert [row["most alike other"] for row in rows] == ["layer2", "layer1"]
    assert float(table(tmp_path / "x.csv")[0]["cka"]) == pytest.approx(1)


def test_the_halves_are_those_of_the_split_where_a_run_has_one(run, nets, tmp_path):
    test, known = nets
    folder = run("a", split=[0, 2, 5])
    _, halves = draw_cka([folder, run("b")], tmp_path / "x.html")
    own = features(known["a"], test)["layer2"]
    expected = linear_cka(own[:, [0, 2, 5]].flatten(1), own[:, [1, 3, 4]].flatten(1))
    assert [half["halves"] for half in halves] == ["inheriting and exploring", "first half and second half"]
    assert float(halves[0]["CKA between them"]) == pytest.approx(float(expected), abs=1e-4)
    safetensors.torch.save_file({"inherit": torch.tensor([0])}, folder / "matchers.safetensors")
    with pytest.raises(LimbeckError, match=r"matchers\.safetensors is damaged"):
        draw_cka([folder], tmp_path / "x.html")


def test_a_split_of_other_channels_and_one_without_a_part(run, tmp_path):
    with pytest.raises(LimbeckError, match="the split of .*a is not one of the 6 channels of layer2"):
        draw_cka([run("a", split=[0, 7])], tmp_path / "x.html")
    folder = tmp_path / "a"
    tensors = {"inherit": torch.arange(6), "explore": torch.arange(0)}
    about = {"limbeck": json.dumps(SPLIT)}
    safetensors.torch.save_file(tensors, folder / "matchers.safetensors", about)
    _, halves = draw_cka([folder], tmp_path / "x.html")
    assert halves[0]["CKA between them"] == "undefined"
    assert "layer2, exploring of" in (tmp_path / "x.html").read_text()
    assert "it has no channels" in (tmp_path / "x.html").read_text()
    assert [row["part"] for row in draw_active([folder], tmp_path / "y.html")] == ["whole", "inheriting"]


def test_what_is_undefined_says_so_with_the_reason(run, tmp_path):
    rows, _ = draw_cka([run("a")], tmp_path / "x.html", ["layer1", "aside.dead"])
    assert rows[1]["CKA"] == "undefined"
    lines = table(tmp_path / "x.csv")
    assert [line["cka"] for line in lines[1:4]] == [""] * 3
    reason = f"aside.dead of {tmp_path / 'a'}: its features are the same for all 40 images"
    assert [line["undefined"] for line in lines[:4]] == ["", reason, reason, reason]
    text = (tmp_path / "x.html").read_text()
    assert f"Undefined: {reason}." in "".join(Tags(text).text)
    drawn = text.rpartition("Plotly.newPlot(")[2]
    assert "NaN" not in drawn
    assert '"text":[["","undefined"],["undefined","undefined"]]' in drawn


def test_named_layers_may_be_of_one_network_alone_and_of_two_axes(run, tmp_path):
    draw_cka([run("a"), run("b")], tmp_path / "x.html", ["layer2.0", "head"])
    assert [line["layer"] for line in table(tmp_path / "x.csv")][:4] == ["layer2.0", "layer2.0", "head", "head"]


@pytest.mark.parametrize(
    ("paths", "images", "reason"),
    [
        (["layer3"], 40, r"--layers: there is no layer 'layer3' in .*a that puts out a tensor; did you mean 'layer"),
        (
            ["aside.twice"],
            40,
            "'aside.twice' of .*a runs 2 times in a forward pass, and which one is meant is not clear",
        ),
        (None, 3, "the unbiased CKA needs at least 4 examples, here are 3"),
    ],
)
def test_what_cannot_be_compared_is_refused(run, tmp_path, paths, images, reason):
    with pytest.raises(LimbeckError, match=reason):
        draw_cka([run("a")], tmp_path / "x.html", paths, images)
    assert not (tmp_path / "x.html").exists()


def test_runs_on_other_images_and_students_without_a_name_are_refused(run, together, finished, nets, tmp_path):
    other = finished("b", test="another")
    pair = together("pair", test=nets[0].fingerprint)
    for runs, reason in {
        (run("a"), other): "have different test sets: give runs with the same one",
        (other,): "the test images of .*b are not those that it was tested on",
        (pair,): "pair has several students: name one of .*pair/student-0, .*pair/student-1$",
        (pair / "ensemble",): "pair/ensemble has no layers of its own",
    }.items():
        with pytest.raises(LimbeckError, match=reason):
            draw_cka(runs, tmp_path / "x.html")
    assert draw_cka([pair / "student-0", pair / "student-1"], tmp_path / "x.html")[1][0]["layer"] == "layer2"
    assert len(draw_active([pair, pair / "student-0"], tmp_path / "y.html")) == 9


def test_what_is_in_use_is_counted_for_the_whole_and_both_parts(run, nets, tmp_path, monkeypatch):
    test, known = nets
    rows = draw_active([run("a", split=[1, 4]), run("b")], tmp_path / "x.html", epsilon=0.1)
    lines = table(tmp_path / "x.csv")
    names = ["whole", "inheriting", "exploring", "whole", "first half", "second half"]
    assert [line["part"] for line in lines] == [row["part"] for row in rows] == names
    (batch,) = test.in_order(500)
    for net, start, parts in (
        (known["a"], 0, [range(6), [1, 4], [0, 2, 3, 5]]),
        (known["b"], 3, [range(7), range(3), range(3, 7)]),
    ):
        # one image at a time
        gradients, seen = [], []
        for view, label in zip(batch.views[0], batch.labels, strict=True):
            map_ = net.layer2(net.layer1(view[None])).detach().requires_grad_()
            loss = nn.functional.cross_entropy(net.head(map_.mean((2, 3))), label[None])
            gradients.append(torch.autograd.grad(loss, map_)[0])
            seen.append(map_.detach() > 0)
        for line, channels in zip(lines[start : start + 3], parts, strict=True):
            part = torch.cat(gradients)[:, list(channels)].flatten(1)
            assert int(line["directions"]) == active_subspace_dimension(part, 0.1)
            assert int(line["active"]) == int(torch.cat(seen)[:, list(channels)].any(0).flatten(1).any(1).sum())
            assert int(line["size"]) == 16 * len(channels)
    assert {(line["images"], line["epsilon"]) for line in lines} == {("40", "0.1")}
    assert (tmp_path / "x.html").read_text().count("Plotly.newPlot(") == 2
    # another layer has no split, and its halves say so
    early = draw_active([tmp_path / "a"], tmp_path / "y.html", layer="layer1", images=10)
    assert [row["part"] for row in early] == ["whole", "first half", "second half"]


@pytest.mark.parametrize(
    ("layer", "epsilon", "reason"),
    [
        ("layer3", 0.05, "a has no layer 'layer3' that puts out a tensor; did you mean"),
        ("head", 0.05, "layer 'head' of .*a puts out 4 numbers for an image, not a map"),
        ("aside.dead", 0.05, "no logit depends on layer 'aside.dead': take one that they are computed from"),
        (None, 1.0, r"--epsilon is 1\.0 but must lie in \[0, 1\)"),
        (None, math.nan, "--epsilon is nan"),
    ],
)
def test_a_layer_without_maps_and_an_epsilon_out_of_range_are_refused(run, tmp_path, layer, epsilon, reason):
    with pytest.raises(LimbeckError, match=reason):
        draw_active([run("a")], tmp_path / "x.html", layer, epsilon=epsilon)


def test_fewer_images_are_the_same_ones_at_every_call_and_of_all_classes(run, tmp_path):
    folder = run("a")
    students = networks.chosen(folder)
    _, first = networks.load_networks(students, [], 12, "cpu")
    _, again = networks.load_networks(students, [], 12, "cpu")
    assert torch.equal(first.views, again.views)
    assert len(first.views) == 12
    assert set(first.labels.tolist()) == {0, 1, 2, 3}
    with pytest.raises(LimbeckError, match=r"--out .*x\.csv is no page"):
        draw_active([folder], tmp_path / "x.csv")


def rewrite(folder, said, labels, classes=4):
    logits = np.eye(classes, dtype=np.float32)[said]
    np.savez(folder / "predictions.npz", ids=np.arange(len(said)), labels=np.array(labels), logits=logits)
    return folder


def test_confusion_is_the_count_of_what_was_said(run, tmp_path):
    labels = [0, 0, 0, 1, 1, 2, 3]
    first = rewrite(run("a"), [0, 1, 1, 1, 0, 2, 3], labels)
    second = rewrite(run("b"), [0, 0, 1, 1, 3, 2, 3], labels)
    rows = write_confusion([first, second], tmp_path / "x.html")
    name = "class taken for another"
    assert [(row[name], row["difference"]) for row in rows] == [("0 → 1", "-1"), ("1 → 0", "-1"), ("1 → 3", "+1")]
    assert rows[0][f"{first} (cross_entropy)"] == "2 (66.7 %)"
    lines = table(tmp_path / "x.csv")
    own = {(line["true"], line["said"]): line for line in lines if line["network"] == str(first)}
    assert {pair: int(line["count"]) for pair, line in own.items()} == {
        ("0", "0"): 1, ("0", "1"): 2, ("1", "0"): 1, ("1", "1"): 1, ("2", "2"): 1, ("3", "3"): 1,
    }  # fmt: skip
    assert float(own["0", "1"]["share"]) == pytest.approx(2 / 3)
    assert (tmp_path / "x.html").read_text().count("Plotly.newPlot(") == 3
    rows = write_confusion([rewrite(run("c"), labels, labels)], tmp_path / "y.html")
    assert rows == [{name: "none", f"{tmp_path / 'c'} (cross_entropy)": "0"}]


def test_classes_have_the_names_of_the_weights_and_many_are_cut(run, tmp_path):
    folder = rewrite(run("a"), [1, 1, 2], [0, 1, 2], classes=3)
    about = {"limbeck": json.dumps({"classes": ["<b>cat", "dog", "cow"]})}
    safetensors.torch.save_file({"w": torch.zeros(1)}, folder / "student.safetensors", about)
    rows = write_confusion([folder], tmp_path / "x.html")
    assert rows[0]["class taken for another"] == "<b>cat → dog"
    assert table(tmp_path / "x.csv")[0]["true_class"] == "<b>cat"
    assert "<b>cat" not in (tmp_path / "x.html").read_text()
    many = rewrite(run("b"), [*range(1, 300), 0], range(300), classes=300)
    write_confusion([many], tmp_path / "y.html")
    assert "Of the 300 classes the pictures have the 200" in (tmp_path / "y.html").read_text()
    assert len(table(tmp_path / "y.csv")) == 300


def test_answers_of_several_students_stand_side_by_side_and_other_images_are_refused(together, finished, tmp_path):
    pair = together("pair")
    rows = write_confusion([pair], tmp_path / "x.html")
    assert len(rows[0]) == 1 + 3
    assert "difference" not in rows[0]
    assert "difference" in write_confusion([pair / "student-0", pair / "ensemble"], tmp_path / "x.html")[0]
    with pytest.raises(LimbeckError, match="have different test sets"):
        write_confusion([pair, finished("b", test="another")], tmp_path / "x.html")
    with pytest.raises(LimbeckError, match="have different test sets"):
        write_confusion([pair, rewrite(finished("c"), [0, 1], [0, 1])], tmp_path / "x.html")
