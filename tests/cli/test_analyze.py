"""`limbeck analyze`: its pictures from runs that are trained here, and what it refuses."""

import json
import shutil

import pytest


def test_a_traced_run_gives_its_picture_and_an_untraced_one_the_command(tiny, done, refused, small, tmp_path):
    tiny("digits/pskd", "training.trace=true", "--folder", "runs/traced")
    ran = done("analyze", "runs/traced", "--what", "rescaling")
    assert "2       5, hardest" in ran.out
    assert "written: runs/traced/rescaling.html, runs/traced/rescaling.csv" in ran.out
    assert len((tmp_path / "runs/traced/rescaling.csv").read_text().splitlines()) == 1 + 2 * 5
    tiny("digits/pskd", "--folder", "runs/plain")
    said = refused("analyze", "runs/plain", "--what", "rescaling")
    assert said.startswith("runs/plain has no trace of its gradient; get one by training it again: ")
    # what it says to do works, and the trace is no other run: equal in results and comparable
    words = said.rpartition(": ")[2].replace("ANOTHER", "runs/again").split()[1:]
    done(*words)
    done("analyze", "runs/again", "--what", "rescaling")
    results = [json.loads((tmp_path / f"runs/{name}/results.json").read_text()) for name in ("plain", "again")]
    assert results[0]["students"] == results[1]["students"]
    groups = [json.loads((tmp_path / f"runs/{name}/environment.json").read_text()) for name in ("plain", "again")]
    assert groups[0]["identity"] == groups[1]["identity"]


def test_a_finished_run_gets_no_trace_and_says_so(tiny):
    tiny("digits/pskd", "--folder", "runs/plain")
    again = tiny("digits/pskd", "training.trace=true", "--folder", "runs/plain")
    assert "runs/plain is finished and has no trace; train it in another folder to get one" in again.err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("environment.json", "{}"),
        ("environment.json", "[]"),
        ("recipe.yaml", "data: 5"),
        ("recipe.yaml", "stages: 3"),
        ("results.json", "{}"),
    ],
)
def test_a_damaged_run_is_named_in_one_line(tiny, refused, tmp_path, file, content):
    tiny("digits/baseline", "--folder", "runs/a")
    shutil.copytree(tmp_path / "runs/a", tmp_path / "runs/b")
    (tmp_path / "runs/b" / file).write_text(content)
    commands = [("compare", "runs/a", "runs/b")]
    commands += [
        ("analyze", "runs/a", "runs/b", "--what", what) for what in ("confidence", "spread", "noise", "relevance")
    ]
    if file == "recipe.yaml":
        commands += [("evaluate", "runs/b"), ("analyze", "runs/b", "--what", "rescaling")]
    for command in commands:
        assert f"runs/b/{file} is damaged; remove its folder and train again" in refused(*command)


def test_softening_and_confidence_need_no_trace(tiny, done, refused, tmp_path):
    tiny("digits/baseline", "--folder", "a=1")
    tiny("digits/pskd", "--folder", "b")
    ran = done("analyze", "b", "--what", "softening")
    assert "virtual teacher: entropy / log K" in ran.out
    assert (tmp_path / "b/softening.csv").exists()
    assert done("analyze", "a=1", "b", "--what", "confidence").out == "written: confidence.html\n"
    done("analyze", "a=1", "b", "data.split_seed=4", "--what", "confidence", "--count", "3", "--out", "pages/own.html")
    text = (tmp_path / "pages/own.html").read_text()
    assert text.count("<img") == 6
    assert "a=1 (cross_entropy)" in text
    assert "b (pskd)" in text
    before = (tmp_path / "confidence.html").read_bytes()
    done("analyze", "a=1", "b", "--what", "confidence")
    assert (tmp_path / "confidence.html").read_bytes() == before


def test_students_that_learn_together_are_analysed_one_by_one(tiny, done, refused, tmp_path):
    tiny("digits/baseline", "--folder", "alone")
    tiny("digits/baseline", "peers=[{name: cnn, width: 3}]", "method=dml", "--folder", "pair")
    ran = done("analyze", "pair", "alone", "--what", "noise", "--draws", "2", "--accelerator", "cpu")
    assert "mean ± standard deviation over 2 draws" in ran.out
    assert "written: noise.html, noise.csv" in ran.out
    assert "noise: image" in ran.err
    lines = [line.split(",") for line in (tmp_path / "noise.csv").read_text().splitlines()[1:]]
    names = ["pair/student-0", "pair/student-1", "pair/ensemble", "alone"]
    assert list(dict.fromkeys(line[0] for line in lines)) == names
    # without noise it is the test error of the results
    told = [
        json.loads((tmp_path / run / "results.json").read_text())["students"][student]["last"]["error"]
        for run, student in (*(("pair", name.split("/")[1]) for name in names[:3]), ("alone", "student"))
    ]
    assert [float(line[2]) for line in lines if line[1] == "0.0"] == pytest.approx(told)
    before = (tmp_path / "noise.csv").read_bytes()
    done("analyze", "pair", "alone", "--what", "noise", "--draws", "2", "--out", "again/x.html")
    assert (tmp_path / "again/x.csv").read_bytes() == before
    assert "one draw" in done("analyze", "alone", "--what", "noise", "--draws", "1", "--seed", "3").out
    ran = done("analyze", "alone", "pair", "--what", "spread")
    assert "mean per-class std" in ran.out
    assert "pair/student-1 (cnn, dml)" in ran.out
    done("analyze", "alone", "pair/student-1", "--what", "confidence")
    assert refused("analyze", "alone", "pair", "--what", "confidence").startswith("pair has several students: name one")
    assert "student-1: entropy" in done("analyze", "pair", "--what", "softening").out
    assert "pair has several students" in refused("analyze", "pair", "--what", "rescaling")


def test_data_that_have_moved_are_found_by_an_override(images, recipe, done, refused, tmp_path):
    name = recipe(images("pets", "<b>cat</b>".replace("/", "_"), "dog"))
    for seed in (0, 1):
        done("train", name, f"seed={seed}", "--folder", f"runs/{seed}")
    (tmp_path / "pets").rename(tmp_path / "moved")
    assert "pets" in refused("analyze", "runs/0", "runs/1", "--what", "confidence")
    done("analyze", "runs/0", "runs/1", f"data.source.root={tmp_path / 'moved'}", "--what", "confidence")
    text = (tmp_path / "confidence.html").read_text()
    assert "<b>cat" not in text
    assert "&lt;b&gt;cat" in text
    images("others", "<b>cat</b>".replace("/", "_"), "dog", count=7)
    said = refused("analyze", "runs/0", "runs/1", "data.source.root=others", "--what", "confidence")
    assert "not those that it was tested on" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a", "Missing option '--what'"),
        (
            "a --what gradient",
            "'gradient' is not one of 'rescaling', 'confidence', 'softening', 'noise', 'spread', 'cka'",
        ),
        ("a b --what rescaling", "--what rescaling takes 1 run folder, not 2"),
        ("a --what confidence", "--what confidence takes 2 run folders, not 1"),
        ("a b c --what confidence", "--what confidence takes 2 run folders, not 3"),
        ("a b --what confidence --count 0", "Invalid value for '--count'"),
        (
            "a --what softening --count 3",
            "--count is for --what confidence and relevance and boxes alone; leave it out",
        ),
        ("a --what softening --out x.html", "--out is for --what confidence and noise and spread and"),
        ("a data.x=1 --what rescaling", "data.key=value is for --what confidence and noise and cka and"),
        ("a data.x=1 --what spread", "data.key=value is for --what confidence and noise and cka and"),
        ("a --what spread --draws 3", "--draws is for --what noise alone; leave it out"),
        ("a --what spread --seed 3", "--seed is for --what noise and boxes alone; leave it out"),
        ("a b --what confidence --accelerator cpu", "--accelerator is for --what noise and cka and active"),
        ("data.x=1 --what noise", "--what noise takes 1 run folder or more, not 0"),
        ("a --what noise --draws 0", "Invalid value for '--draws'"),
        ("a --what noise", "a is no run folder: cannot read its recipe.yaml"),
        ("a --what spread", "a is no run folder: cannot read its recipe.yaml"),
        ("data.x=1 --what relevance", "--what relevance takes 1 run folder or more, not 0"),
        ("a --what relevance", "a is no run folder: cannot read its recipe.yaml"),
        ("a --what relevance --count 0", "Invalid value for '--count'"),
        ("a --what relevance --draws 2", "--draws is for --what noise alone; leave it out"),
        ("a --what relevance --out x.png", "--out x.png is no page: give a name that ends in .html"),
        ("a --what rescaling", "a is no run folder: cannot read its recipe.yaml"),
        ("a --what softening", "a is no run folder: cannot read its recipe.yaml"),
        ("a b --what confidence", "a is no run folder: cannot read its recipe.yaml"),
    ],
)
def test_a_misuse_of_analyze_is_one_line(refused, words, expected):
    assert expected in refused("analyze", *words.split())


def test_what_does_not_fit_is_one_line(tiny, refused, tmp_path):
    tiny("digits/baseline", "--folder", "a")
    said = refused("analyze", "a", "a", "training.epochs=3", "--what", "confidence")
    assert said == "override 'training.epochs=3': only data.… can be changed when evaluating"
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/predictions.npz").unlink()
    assert "b/predictions.npz is missing or damaged" in refused("analyze", "b", "--what", "softening")
    said = refused("train", "digits/pskd", "training.trace=true", "data.mix=mixup", "--folder", "c")
    assert said.endswith("and mixed ones have two: set training.trace to false, or data.mix to null")
    assert not (tmp_path / "c").exists()
