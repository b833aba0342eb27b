"""A recorded teacher: what is replayed is what it would have said, and then it is never asked."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from limbeck.core import Clock
from limbeck.core.batch import Batch, Output
from limbeck.errors import LimbeckError
from limbeck.recipes.read import plan
from limbeck.teachers.replay import ReplayedTeacher
from limbeck.teachers.teacher import Teacher
from limbeck.train.progress import Display
from limbeck.train.runtime import Runtime

RECIPE = {
    "data": {"source": "digits", "examples": 60, "validation": 100, "view_seed": 11, "cycle": 2},
    "training": {"epochs": 4, "batch_size": 30},
    "stages": {
        "teacher": {
            "model": {"name": "cnn", "width": 3},
            "method": "cross_entropy",
            "seed": 0,
            "training": {"epochs": 1},
        },
        "student": {
            "model": {"name": "cnn", "width": 2},
            "method": {"name": "kd", "alpha": 0.9},
            "teacher": {"stage": "teacher"},
        },
    },
}


@pytest.fixture
def runtime():
    return Runtime("cpu", 1, 1)


@pytest.fixture
def asked(monkeypatch):
    """The sizes of the batches that teachers are asked about."""
    sizes = []
    ask = Teacher.__call__

    def counting(self, view):
        sizes.append(len(view))
        return ask(self, view)

    monkeypatch.setattr(Teacher, "__call__", counting)
    return sizes


@pytest.fixture
def trained(tmp_path, runtime):
    """Return a function that trains the recipe with changes and returns the student's weights."""

    def run(name, *changes):
        with Display(silent=True) as display:
            plan(RECIPE, "recipe", changes).run(tmp_path / name, runtime, display)
        return load_file(tmp_path / name / "student.safetensors")

    return run


@pytest.fixture
def recorded(tmp_path, runtime):
    """Return a function that fills the recipe's cache."""

    def fill(*changes):
        with Display(silent=True) as display:
            return plan(RECIPE, "recipe", changes).record(tmp_path / "any", runtime, display)

    return fill


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def cached(tmp_path, *more):
    return (f"stages.student.teacher.cache={tmp_path / 'cache'}", *more)


def identity(folder):
    return json.loads((folder / "environment.json").read_text())["identity"]


@pytest.mark.parametrize("mix", [(), ("data.mix=mixup",)], ids=["plain", "mixup"])
def test_replayed_is_live_bit_for_bit_in_float32(trained, tmp_path, asked, mix):
    live = trained("live", *mix)
    first = trained("first", *cached(tmp_path), *mix)
    asked.clear()
    again = trained("again", *cached(tmp_path), *mix)
    assert asked == []
    assert same(live, first)
    assert same(live, again)
    assert identity(tmp_path / "live") == identity(tmp_path / "again")


def test_the_second_cycle_asks_nothing(trained, tmp_path, asked):
    trained("teacher-only", *cached(tmp_path), "training.epochs=2")
    # one look at two images before training, then 60 in each of the cycle's epochs
    assert sorted(asked) == [2, 30, 30, 30, 30]
    asked.clear()
    trained("longer", *cached(tmp_path), "stages.student.training.epochs=6")
    assert asked == []


def test_a_student_with_another_seed_and_method_sees_the_same_views_and_asks_nothing(trained, tmp_path, asked):
    first = trained("first", *cached(tmp_path))
    asked.clear()
    other = trained("other", *cached(tmp_path), "stages.student.seed=3", "stages.student.method.temperature=2.0")
    assert asked == []
    assert not same(first, other)


def test_recording_ahead_gives_the_same_run(trained, recorded, tmp_path, asked):
    answers = recorded(*cached(tmp_path)).answers
    assert all(answers.complete(epoch) for epoch in range(2))
    asked.clear()
    recorded(*cached(tmp_path))
    student = trained("student", *cached(tmp_path))
    assert asked == []
    assert same(student, trained("live"))


def test_recording_goes_on_where_it_was_stopped(recorded, tmp_path, monkeypatch, asked):
    ask, calls = Teacher.__call__, []

    def dies(self, view):
        calls.append(len(view))
        if len(calls) == 4:
            raise RuntimeError("killed")
        return ask(self, view)

    with monkeypatch.context() as patched:
        patched.setattr(Teacher, "__call__", dies)
        # the teacher's stage has its look at nobody: all calls are of the recording
        with pytest.raises(RuntimeError, match="killed"):
            recorded(*cached(tmp_path))
    asked.clear()
    found = recorded(*cached(tmp_path))
    assert found.complete
    # the first epoch was there, and the second's first batch had not been flushed
    assert asked == [30, 30]


@pytest.mark.parametrize("kept", ["cache_dtype=float16", "cache_top_k=3"])
def test_other_formats_are_other_runs_and_do_not_depend_on_who_recorded(trained, tmp_path, asked, kept):
    changes = cached(tmp_path, f"stages.student.teacher.{kept}")
    first, live = trained("first", *changes), trained("live")
    asked.clear()
    again = trained("again", *changes)
    assert asked == []
    assert same(first, again)
    assert not same(first, live)
    assert identity(tmp_path / "first") == identity(tmp_path / "again") != identity(tmp_path / "live")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("stages.teacher.seed=1", "other teacher"),
        ("data.examples=61", "other training data"),
        ("data.view_seed=12", "view_seed: 11 there, 12 here"),
        ("data.cycle=3", "cycle: 2 there, 3 here"),
        ("data.mix=mixup", "other mix"),
        ("data.views=[flip]", "other views"),
        ("stages.student.teacher.cache_dtype=float16", "format: float32 there, float16 here"),
    ],
)
def test_other_answers_are_refused_in_one_line(recorded, tmp_path, change, expected):
    recorded(*cached(tmp_path))
    # the teacher's own stage keeps its data and so its weights, where the change is of the student's
    key = change.replace("data.", "stages.student.data.") if change.startswith("data.") else change
    with pytest.raises(LimbeckError, match=expected) as error:
        recorded(*cached(tmp_path, key))
    assert "teacher.cache" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_answers_in_another_precision_are_refused(recorded, tmp_path):
    recorded(*cached(tmp_path))
    (run,) = (tmp_path / "stages").iterdir()
    student = {**RECIPE["stages"]["student"], "teacher": {"run": str(run), "cache": str(tmp_path / "cache")}}
    tree = {"data": RECIPE["data"], "training": RECIPE["training"] | {"precision": "bf16-mixed"}, **student}
    with (
        Display(silent=True) as display,
        pytest.raises(LimbeckError, match="precision: 32-true there, bf16-mixed here"),
    ):
        plan(tree, "recipe").record(tmp_path / "any", Runtime("cpu", 1, 1, "bf16-mixed"), display)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (("training.shuffle=node", "data.mix=mixup"), "teacher.cache replays answers to pairs: set training.shuffle"),
        (("data.cycle=null",), "set data.view_seed and data.cycle"),
        (("data.view_seed=null",), "set data.view_seed and data.cycle"),
        (("stages.student.teacher.cache=null", "stages.student.teacher.cache_dtype=float16"), "set cache too"),
        (("stages.student.teacher.cache=null", "stages.student.teacher.cache_top_k=3"), "set cache too"),
    ],
)
def test_a_cache_without_views_that_come_again_is_refused(tmp_path, changes, expected):
    with pytest.raises(LimbeckError, match=expected):
        plan(RECIPE, "recipe", cached(tmp_path, *changes))


def test_recording_without_a_cache_is_refused(recorded):
    with pytest.raises(LimbeckError, match="has no cache: set teacher.cache"):
        recorded()


def test_a_damaged_row_is_refused_and_recording_mends_it(trained, recorded, tmp_path, asked, capsys):
    live = trained("live")
    recorded(*cached(tmp_path))
    path = tmp_path / "cache" / "epoch-1-values.bin"
    sound = path.read_bytes()
    path.write_bytes(sound[:1000] + bytes([sound[1000] ^ 4]) + sound[1001:])
    with pytest.raises(
        LimbeckError, match=r"cache is damaged in epoch 1, row 25: let `limbeck teacher record`"
    ) as told:
        trained("replayed", *cached(tmp_path))
    assert "\n" not in str(told.value)
    asked.clear()
    with Display() as display:
        plan(RECIPE, "recipe", cached(tmp_path)).record(tmp_path / "any", Runtime("cpu", 1, 1), display)
    assert "1 damaged row(s) in" in capsys.readouterr().err
    assert asked == [30]
    assert path.read_bytes() == sound
    # from the last checkpoint on
    assert same(trained("replayed", *cached(tmp_path)), live)


@pytest.mark.parametrize("flushes", [0, 1, 2, 3])
def test_a_disk_that_fills_up_stops_the_run_and_the_same_command_goes_on(trained, tmp_path, monkeypatch, flushes):
    live = trained("live")
    flush, calls = np.memmap.flush, []

    def full(self):
        calls.append(1)
        if len(calls) > flushes:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(self)

    with monkeypatch.context() as patched:
        patched.setattr(np.memmap, "flush", full)
        with pytest.raises(LimbeckError, match=r"cannot write into .*cache: No space left on device") as told:
            trained("cut", *cached(tmp_path))
    assert "\n" not in str(told.value)
    assert len(list((tmp_path / "cut" / "checkpoints").glob("*.pt"))) == flushes // 2
    assert same(trained("cut", *cached(tmp_path)), live)
    assert same(trained("other", *cached(tmp_path)), live)


class Naive:
    """Answers the mean of each image, in three multiples, and counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, view):
        self.calls += 1
        return Output(view.mean((1, 2, 3))[:, None] * torch.tensor([1.0, 2.0, -1.0]))


def small(folder, views=1, teacher=None):
    from limbeck.memory.logits import DenseLogits

    ids = torch.tensor([2, 5, 6, 9]).numpy()
    return ReplayedTeacher(teacher or Naive(), folder, ids, 3, 2, DenseLogits(), {"teacher": "x"}, views)


def batch(ids, views=1):
    images = [torch.tensor(ids, dtype=torch.float32)[:, None, None, None] + 100 * v for v in range(views)]
    return Batch(torch.tensor(ids), tuple(images), torch.zeros(len(ids), dtype=torch.int64))


def test_rows_go_by_epoch_view_and_example(tmp_path):
    teacher = small(tmp_path, views=2)
    for number in (0, 1):
        teacher.on(batch([9, 2], 2), number, Clock(0, 4))
        teacher.on(batch([5, 6], 2), number, Clock(0, 4))
    teacher.after_epoch()
    assert teacher.teacher.calls == 4
    again = small(tmp_path, views=2)
    for number in (0, 1):
        found = again.on(batch([6, 2, 9], 2), number, Clock(2, 4)).logits
        assert found[:, 0].tolist() == [6 + 100 * number, 2 + 100 * number, 9 + 100 * number]
    assert again.teacher.calls == 0
    again.on(batch([6], 2), 0, Clock(3, 4))
    assert again.teacher.calls == 1
    assert not again.complete


def test_an_epoch_is_decided_once(tmp_path):
    teacher = small(tmp_path)
    for clock in (Clock(0, 4), Clock(0, 4, 1)):
        teacher.on(batch([2, 5, 6, 9]), 0, clock)
        teacher.after_epoch()
    assert teacher.teacher.calls == 2
    teacher.on(batch([2]), 0, Clock(2, 4))
    assert teacher.teacher.calls == 2


def test_strangers_are_refused(tmp_path):
    teacher = small(tmp_path)
    for stranger in (0, 4, 99):
        with pytest.raises(LimbeckError, match=f"no row for example {stranger}, which is not in the training split"):
            teacher.on(batch([5, stranger]), 0, Clock(0, 4))
    with pytest.raises(LimbeckError, match=r"rows for 1 view\(s\) of an example, not for 2"):
        teacher.on(batch([5], 2), 1, Clock(0, 4))


FILL = """
import sys
from pathlib import Path
import torch
from limbeck.memory.answers import Answers
from limbeck.memory.logits import TopLogits
from limbeck.memory.sizes import answers_layout
which, folder = int(sys.argv[1]), Path(sys.argv[2])
answers = Answers(folder, answers_layout(1000, 20, 2, TopLogits(4)), {"teacher": "x"})
said = torch.arange(20.0) * torch.arange(1000.0)[:, None]
for epoch in range(2):
    for rows in torch.arange(which, 1000, 2).split(50):
        answers.scatter(epoch, rows, answers.layout.format.encode(said[rows]))
        answers.commit()
"""


def test_two_processes_fill_one_cache(tmp_path):
    from limbeck.memory.answers import Answers
    from limbeck.memory.logits import TopLogits
    from limbeck.memory.sizes import answers_layout

    started = [subprocess.Popen([sys.executable, "-c", FILL, str(which), str(tmp_path / "cache")]) for which in (0, 1)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    format = TopLogits(4)
    answers = Answers(tmp_path / "cache", answers_layout(1000, 20, 2, format), {"teacher": "x"})
    said = torch.arange(20.0) * torch.arange(1000.0)[:, None]
    for epoch in range(2):
        assert answers.complete(epoch)
        found = answers.gather(epoch, torch.arange(1000))
        assert torch.equal(format.decode(found, 20), format.decode(format.encode(said), 20))
