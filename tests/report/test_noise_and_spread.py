"""The pages of noise and spread, and how runs of several students get into the other pages."""

import csv
import io

import numpy as np
import pytest
import torch
from pages import Tags
from torch import nn

from limbeck.analysis.confidence import probabilities
from limbeck.analysis.spread import class_spread
from limbeck.core.batch import Output
from limbeck.data import draws
from limbeck.data.examples import Members
from limbeck.data.resident import ResidentExamples
from limbeck.errors import LimbeckError
from limbeck.report import confidence, noise
from limbeck.report.confidence import write_confidence
from limbeck.report.noise import DEVIATIONS, Curve, measure, write_noise
from limbeck.report.rescaling import read_points
from limbeck.report.softening import TEMPERATURES, write_softening
from limbeck.report.spread import write_spread
from limbeck.report.students import label_of, read_student
from limbeck.train.progress import Display


class Linear(nn.Module):
    """A network without anything that depends on the batch."""

    def __init__(self, seed):
        super().__init__()
        self.weights = torch.randn(49, 4, generator=torch.Generator().manual_seed(seed))

    def forward(self, view):
        return Output(view.flatten(1) @ self.weights)


def make_test(classes=tuple("abcd")):
    pixels = torch.randint(0, 256, (40, 1, 7, 7), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    members = Members(np.arange(40) + 100, np.arange(40) % 4, 140, classes)
    return ResidentExamples(pixels, members, mean=(0.4,), std=(0.3,), views=(), mix=None, device="cpu")


@pytest.fixture
def networks(monkeypatch):
    """Make fixed images the test set of every run, and fixed linear networks their students."""
    test = make_test()
    monkeypatch.setattr(noise, "test_examples", lambda run, overrides, device: test)
    students = {"pair": {"student-0": Linear(0), "student-1": Linear(1)}, "one": {"student": Linear(2)}}
    monkeypatch.setattr(noise, "trained", lambda run, which, inputs, device: students[run.name])
    return test, students


def silent():
    return Display(silent=True)


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_noise_page_has_a_line_for_each_student_and_their_mean(networks, finished, together, tmp_path):
    test, students = networks
    runs = [together("pair", test=test.fingerprint), finished("one", test=test.fingerprint)]
    with silent() as display:
        rows = write_noise(runs, [], tmp_path / "a.html", display, draws=3, seed=4, accelerator="cpu")
    names = ["pair/student-0 (cnn, cross_entropy)", "pair/student-1 (wrn_16_1, cross_entropy)",
             "pair/ensemble (mean of probabilities, cross_entropy)", "one (cross_entropy)"]  # fmt: skip
    assert [row["test error % at d ="] for row in rows] == [str(tmp_path / name) for name in names]
    lines = table(tmp_path / "a.csv")
    assert len(lines) == 4 * len(DEVIATIONS)
    assert [line["noise"] for line in lines[:4]] == ["0.0", "0.01", "0.02", "0.03"]
    # one number by hand: the last network, the largest noise, draw 1
    normal = draws.normal(4, 1, 0, torch.arange(100, 140), 49, stream=draws.NOISE).view(40, 1, 7, 7)
    (batch,) = test.in_order(500)
    answers = students["one"]["student"](batch.views[0] + 0.15 * normal / 0.3).logits.argmax(1)
    assert float(lines[-1]["draw_1"]) == float((answers != batch.labels).double().mean())
    own = np.array([float(lines[-1][f"draw_{i}"]) for i in range(3)])
    assert float(lines[-1]["mean"]) == pytest.approx(own.mean())
    assert float(lines[-1]["std"]) == pytest.approx(own.std(ddof=1))
    assert rows[-1]["0.15"] == f"{100 * own.mean():.2f} ± {100 * own.std(ddof=1):.2f}"
    assert "±" not in rows[-1]["0"]
    text = (tmp_path / "a.html").read_text()
    assert text.count("Plotly.newPlot(") == 1
    assert text.count('"error_y"') >= 4
    assert "Draws of the noise: 3, of seed 4." in "".join(Tags(text).text)


def test_a_single_draw_has_no_spread_and_batches_change_nothing(networks, monkeypatch, tmp_path):
    test, _ = networks
    with silent() as display:
        whole = measure([[Linear(0)]], test, 2, 0, display)
        monkeypatch.setattr(noise, "_BLOCK_NUMBERS", 49 * 7)
        assert np.array_equal(measure([[Linear(0)]], test, 2, 0, display), whole)
        assert not np.array_equal(measure([[Linear(0)]], test, 2, 1, display), whole)
        assert np.array_equal(measure([[Linear(0)]], test, 1, 0, display), whole[:, :, :1])
    assert np.isnan(Curve("a", "a", whole[0, :, :1], 40).deviation).all()
    curve = Curve("a", "a", whole[0], 40)
    assert curve.deviation[0] == 0
    assert curve.mean[0] == whole[0, 0, 0] / 40


def test_runs_on_different_images_are_refused(networks, finished, tmp_path):
    test, _ = networks
    one, other, page = finished("one", test=test.fingerprint), finished("other", test="another"), tmp_path / "a.html"
    with silent() as display:
        for runs, reason in {
            (one, other): "one and .*other have different test sets: give runs with the same one",
            (other,): "the test images of .*other are not those that it was tested on",
        }.items():
            with pytest.raises(LimbeckError, match=reason):
                write_noise(runs, [], page, display, draws=1, seed=0, accelerator="cpu")
        with pytest.raises(LimbeckError, match=r"--out .*a\.csv is no page: give a name that ends in \.html"):
            write_noise([one], [], tmp_path / "a.csv", display, draws=1, seed=0, accelerator="cpu")
    with pytest.raises(LimbeckError, match="have different test sets"):
        write_spread([one, other], page)
    assert not page.exists()


def test_noise_says_how_far_it_is(networks, capsys):
    test, _ = networks
    with Display() as display:
        measure([[Linear(0)]], test, 1, 0, display)
    assert capsys.readouterr().err == "noise: 40 images\nnoise: image 40/40  \n"


def test_the_spread_page_has_both_errors_where_there_are(finished, together, tmp_path):
    runs = [finished("one"), together("pair")]
    rows = write_spread(runs, tmp_path / "spread.html")
    names = ["one (cross_entropy)", "pair/student-0 (cnn, cross_entropy)", "pair/student-1 (wrn_16_1, cross_entropy)",
             "pair/ensemble (cross_entropy)"]  # fmt: skip
    assert [row["network"] for row in rows] == [str(tmp_path / name) for name in names]
    # 0.5 / 2, 0.4 / 2 in the last epoch; 0.1 on the test set
    assert [row["training error %"] for row in rows] == ["25.00", "25.00", "20.00", "–"]
    assert [row["test error %"] for row in rows] == ["10.00"] * 4
    assert [row["gap"] for row in rows] == ["-15.00", "-15.00", "-10.00", "–"]
    lines = table(tmp_path / "spread.csv")
    with np.load(runs[1] / "predictions-1.npz") as arrays:
        expected = class_spread(probabilities(arrays["logits"]), arrays["labels"]).mean()
    assert float(lines[2]["spread"]) == pytest.approx(expected, rel=1e-12)
    assert lines[2]["network"] == str(runs[1] / "student-1")
    assert (lines[3]["training_error"], lines[3]["gap"]) == ("", "")
    assert (tmp_path / "spread.html").read_text().count("Plotly.newPlot(") == 2


def test_a_damaged_result_is_named(finished, tmp_path):
    run = finished("one")
    (run / "results.json").write_text('{"students": {"student": {}}}')
    with pytest.raises(LimbeckError, match=r"results\.json is damaged"):
        write_spread([run], tmp_path / "a.html")


def test_a_student_of_several_is_named_by_its_path(together, finished):
    pair, one = together("pair"), finished("one")
    assert read_student(pair / "student-1").student == "student-1"
    assert label_of(read_student(pair / "student-1")) == f"{pair}/student-1 (wrn_16_1, cross_entropy)"
    assert read_student(pair / "ensemble").student == "ensemble"
    assert read_student(one).student == read_student(one / "student").student == "student"
    choices = f"name one of {pair}/student-0, {pair}/student-1, {pair}/ensemble"
    for path, problem in {
        pair: f"{pair} has several students",
        pair / "student-2": f"there is no {pair}/student-2",
    }.items():
        with pytest.raises(LimbeckError) as error:
            read_student(path)
        assert str(error.value) == f"{problem}: {choices}"


def test_students_that_learn_together_stand_side_by_side(together, monkeypatch, tmp_path):
    test = make_test()
    monkeypatch.setattr(confidence, "test_examples", lambda run, overrides, device: test)
    pair = together("pair", test=test.fingerprint)
    write_confidence(pair / "student-0", pair / "ensemble", [], 2, tmp_path / "page.html")
    words = "".join(Tags((tmp_path / "page.html").read_text()).text)
    assert "pair/student-0 (cnn, cross_entropy)" in words
    assert "pair/ensemble (cross_entropy)" in words


def test_softening_has_a_line_for_each_student_and_a_trace_none(together):
    pair = together("pair")
    rows = write_softening(pair)
    assert [name for name in rows[0] if "entropy" in name] == [
        f"{name}: entropy / log K" for name in ("student-0", "student-1", "ensemble", "virtual teacher")
    ]
    assert len(list(csv.reader(io.StringIO((pair / "softening.csv").read_text())))) == 1 + 4 * len(TEMPERATURES)
    with pytest.raises(LimbeckError, match=r"pair has several students, and training\.trace follows one"):
        read_points(pair)
