"""Elsewhere the same: several processes, a Ray cluster, and a study that was killed."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from limbeck.core import LimbeckError
from limbeck.studies import account, cluster, executors, processes
from limbeck.studies.make import prepare
from limbeck.studies.processes import Processes
from limbeck.studies.schedule import Course, Executor
from limbeck.train.progress import Display

SHARED = """
recipe:
  data: {source: digits, examples: 100}
  model: {name: cnn, width: 2}
  method: kd
  training: {epochs: 3, batch_size: 20}
  stages:
    teacher: {model: {name: cnn, width: 4}, method: cross_entropy}
    student: {teacher: {stage: teacher}}
"""
HOT = """
cells: {cool: {}, hot: {method.temperature: 8.0}}
seeds: 2
claims: [nll(hot) > nll(cool)]
"""
FILES = ("results.csv", "verdicts.csv")


def same(one, other):
    """Compare two studies' folders: figures, verdicts, weights, answers and curves, bit for bit."""
    runs = sorted(path.parent.relative_to(one) for path in one.glob("runs/**/results.json"))
    assert runs == sorted(path.parent.relative_to(other) for path in other.glob("runs/**/results.json"))
    assert len(runs) == 6
    names = [*FILES, *(run / name for run in runs for name in ("student.safetensors", "metrics.jsonl"))]
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def ended(seen):
    """Say whether studies were published as their runs ended, the last time with all of them."""
    counts = [sum(map(len, one.runs.values())) + len(one.failures) for one in seen]
    planned = len(seen[-1].cells) * len(seen[-1].study.seeds)
    return counts == sorted(counts) and 0 < counts[0] < counts[-1] == planned and len(set(counts)) >= 3


def test_two_processes_are_one_digit_for_digit_failures_too_and_train_a_teacher_once(made, tmp_path, monkeypatch):
    seen = []
    text = HOT.replace("}}", "}, wild: {stages.student.optimiser: {name: sgd, lr: 1e12}}}")
    here = made(text, "one", recipe=SHARED)
    monkeypatch.setattr(account, "PATIENCE", 0)
    there = made(text, "two", executor=Processes(2, 1, tmp_path / "two"), recipe=SHARED, publish=seen.append)
    assert ended(seen)
    same(tmp_path / "one", tmp_path / "two")
    assert list(here.failures) == ["wild-seed0", "wild-seed1"]
    assert here.failures == there.failures
    assert here.judged == there.judged
    assert (tmp_path / "two/logs/worker-1.log").exists()


def test_a_process_that_dies_costs_its_run_alone(written, tmp_path):
    long = SHARED.replace("epochs: 3", "epochs: 4000")
    orders = prepare(written("seeds: 1\n", recipe=long), tmp_path / "out", [], None, "cpu", "").orders
    maker, events = Processes(1, 1, tmp_path / "out"), []
    maker.start(orders["recipe-seed0"], events.append)
    assert not maker.free
    while not any(event.kind == "epoch" for event in events):
        maker.wait(events.append)
    (worker,) = maker._workers.values()
    os.kill(worker.process.pid, signal.SIGKILL)
    while not maker.free:
        maker.wait(events.append)
    maker.close()
    assert (events[-1].run, events[-1].kind) == ("recipe-seed0", "failed")
    assert events[-1].text == "its process was killed (SIGKILL): the machine may have run out of memory"


class Recorded(Executor):
    """Takes two orders at a time and ends them as it is told."""

    def __init__(self):
        self.running, self.log, self.told = [], [], []

    free = property(lambda self: len(self.running) < 2)

    def start(self, order, report):
        self.running.append(order.name)
        self.log.append(tuple(self.running))

    def wait(self, report):
        report(self.told.pop(0))

    def close(self):
        pass


def test_runs_that_share_a_stage_wait_until_it_is_there(written, tmp_path):
    prepared = prepare(written(HOT, recipe=SHARED), tmp_path / "out", [], None, "cpu", "")
    event = lambda run, kind, text="", epoch=0: processes.Event(run, kind, text, epoch)  # noqa: E731
    maker = Recorded()

    def end(name):
        maker.running.remove(name)
        return event(name, "done")

    class Told(list):
        def pop(self, index=-1):
            step = super().pop(index)
            return end(step) if isinstance(step, str) else step

    maker.told = Told(
        [
            event("cool-seed0", "stage", "teacher"),
            event("cool-seed0", "stage", "cool-seed0"),  # its teacher is there
            "cool-seed1",
            "cool-seed0",
            "hot-seed0",
            "hot-seed1",
        ]
    )
    Course(prepared.orders, prepared.plans, Display(silent=True), "s").run(maker)
    # hot-seed0 does not begin beside cool-seed0, but cool-seed1 does, which has another teacher
    assert maker.log[:2] == [("cool-seed0",), ("cool-seed0", "cool-seed1")]
    assert maker.log[2] == ("cool-seed0", "hot-seed0")
    assert maker.log[3] == ("hot-seed0", "hot-seed1")


def test_runs_do_not_wait_for_a_stage_that_is_there(written, made, tmp_path):
    made("seeds: 1\n", recipe=SHARED)
    prepared = prepare(written(HOT, recipe=SHARED), tmp_path / "out", [], None, "cpu", "")
    maker = Recorded()
    maker.told = [
        processes.Event("cool-seed0", "stage", "teacher"),  # it keeps weights that it did not keep
        processes.Event("cool-seed0", "epoch", epoch=1),
        *(processes.Event(name, "failed", "no") for name in prepared.orders),
    ]

    def wait(report):
        event = maker.told.pop(0)
        if event.kind == "failed":
            maker.running.remove(event.run)
        report(event)

    maker.wait = wait
    course = Course(prepared.orders, prepared.plans, Display(silent=True), "s")
    assert (course.trainings, course.epochs) == (4 + 1, 3 * 5)
    course.run(maker)
    assert maker.log[1] == ("cool-seed0", "hot-seed0")


def test_cores_are_counted_also_where_the_system_knows_no_shares_of_them(monkeypatch):
    assert executors.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert executors.cores() == 6


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_study_that_is_killed_goes_on_where_it_stopped(written, made, tmp_path, jobs):
    longer = SHARED.replace("epochs: 3", "epochs: 12")
    written(HOT, recipe=longer)
    words = [sys.executable, "-m", "limbeck", "study", "s.yaml", "--out", "cut", "--jobs", jobs, "--accelerator", "cpu"]
    runs = tmp_path / "cut/runs"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path) as study:
        while not list(runs.glob("*-seed*/results.json")):
            time.sleep(0.01)
            if study.poll() is not None:
                pytest.fail(study.stderr.read().decode())
        study.kill()
    before = {path: path.stat().st_mtime_ns for path in runs.glob("**/results.json")}
    assert len(before) < 6, "the study ended before it could be killed: make it longer"
    outcome = made(HOT, "cut", recipe=longer)
    assert outcome.failures == {}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    made(HOT, "whole", recipe=longer)
    same(tmp_path / "whole", tmp_path / "cut")


def test_each_process_has_its_share_of_the_cores_and_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    environment = processes._environment(3, 2)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["CUDA_VISIBLE_DEVICES"] == "6"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert processes._environment(3, 2)["CUDA_VISIBLE_DEVICES"] == "4"


# SIGINT does what Ctrl-C does, also where these tests run in the background of a shell, which has it ignored
INTERRUPTED = """
import signal
from limbeck.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def test_a_study_that_is_interrupted_leaves_a_report_of_what_there_is(written, tmp_path):
    written(HOT, recipe=SHARED.replace("epochs: 3", "epochs: 12"))
    options = ["--out", "cut", "--jobs", "2", "--accelerator", "cpu"]
    words = [sys.executable, "-c", INTERRUPTED, "study", "s.yaml", *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as study:
        while not (tmp_path / "cut/report.html").exists():  # the first run has ended
            time.sleep(0.01)
            assert study.poll() is None, study.stderr.read()
        study.send_signal(signal.SIGINT)
        said = study.communicate(timeout=100)[1].splitlines()
    assert study.returncode == 130
    assert said[-2:] == [
        "s: stopping; its report is written",
        "limbeck: stopped; the same command continues from the last checkpoint",
    ]
    text = (tmp_path / "cut/report.md").read_text()
    found = re.search(r"(\d) of 4 runs are finished, (\d) (is|are) still to be made", text)
    assert found, "the study ended before it could be interrupted: make it longer"
    assert int(found[1]) == 4 - int(found[2]) == len(list((tmp_path / "cut/runs").glob("*-seed*/results.json")))
    assert found[0] in (tmp_path / "cut/report.html").read_text()


RAY = """
from pathlib import Path
from limbeck.studies import account
from limbeck.studies.cluster import Cluster
from limbeck.studies.make import make, prepare
from limbeck.train.progress import Display

account.PATIENCE, seen = 0, []
with Display() as display:
    prepared = prepare("s.yaml", Path("ray"), [], None, "auto", "limbeck study s.yaml")
    outcome = make(prepared, lambda: Cluster("ray", 2, 0.0, 1), display, seen.append)
counts = [sum(map(len, one.runs.values())) for one in seen]
assert counts[0] in (1, 2, 3) and counts[-1] == 4 and counts == sorted(counts), counts
assert not outcome.failures, outcome.failures
try:
    Cluster("ray", None, 5000.0, 1)
except Exception as error:
    print(error)
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_a_ray_cluster_says_the_same(made, written, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    made(HOT, "one", recipe=SHARED)
    done = subprocess.run([sys.executable, "-c", RAY], capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "one", tmp_path / "ray")
    assert done.stdout.splitlines()[-1] == (
        "a run needs 1 CPU(s) and 5000 GPU(s), and no machine of the Ray cluster has them: lower --gpus-per-run or the "
        "study's threads, or join a cluster that has them by --on ray://HOST:PORT"
    )


@pytest.fixture
def fake_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda *a, **k: pytest.fail("asked")))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ray://127.0.0.1:9", "there is no Ray cluster at ray://127.0.0.1:9: Connection refused; start one with"),
        ("ray://no.such.host.invalid:1", "there is no Ray cluster at ray://no.such.host.invalid:1: "),
        ("ray://", "'ray://' is no address of a Ray cluster: write ray://HOST:PORT"),
        ("ray://host", "'ray://host' is no address of a Ray cluster"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_at_once(fake_ray, address, reason):
    with pytest.raises(LimbeckError) as told:
        cluster.Cluster(address, None, 0.0, 1)
    assert str(told.value).startswith(reason)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LimbeckError, match=r"--on ray needs Ray: pip install 'limbeck\[ray\]'"):
        cluster.Cluster("ray", None, 0.0, 1)
