"""`limbeck plan-memory`."""

import pytest

from limbeck.memory import speed


@pytest.fixture(autouse=True)
def a_small_sample(monkeypatch):
    monkeypatch.setattr(speed, "DISK_SAMPLE", 1 << 23)
    monkeypatch.setattr(speed, "MEMORY_SAMPLE", 1 << 20)
    monkeypatch.setattr(speed, "PAGES", 8)


def test_a_row_for_every_home_and_format(done, tmp_path):
    ran = done("plan-memory", "--examples", 50_000, "--classes", 100, "--window", 2, "--processes", 4)
    assert ran.out.startswith("50,000 examples × 100 classes, window 2\n")
    lines = [line.split() for line in ran.out.splitlines()]
    rows = [line for line in lines if line and line[0] in {"device", "ram", "disk"}]
    assert [row[0] for row in rows] == ["device"] * 3 + ["ram"] * 3 + ["disk"] * 3
    assert rows[3][1:6] == ["float32", "241", "MB", "60.1", "MB"]
    assert rows[6][1:5] == ["float32", "60.1", "MB", "shared"]
    cached = [line[:4] for line in lines if line and line[0] in {"float32", "float16"}]
    # 10 epochs × 50,000 rows of 4 × 100, 2 × 100, 4 × 11 + 2 × 10 and 2 × 11 + 2 × 10 bytes, and 8 beside each
    assert cached == [
        ["float32", "null", "204", "MB"],
        ["float16", "null", "104", "MB"],
        ["float32", "10", "36", "MB"],
        ["float16", "10", "25", "MB"],
    ]
    assert "a teacher's cache, data.cycle 10, 1 view(s)" in ran.out
    assert "estimates from a short calibration" in ran.out
    assert not list(tmp_path.iterdir())


def test_what_processes_send(done):
    sizes = ["--examples", 1_281_167, "--classes", 1000]
    assert "sent" not in done("plan-memory", *sizes).out.lower()
    ran = done("plan-memory", *sizes, "--processes", 8, "--nodes", 4, "--students", 2)
    rows = {tuple(line.split()[:2]): line.split()[-6:] for line in ran.out.splitlines() if " float16 " in line}
    # 31 of 32 processes, 7 of the 8 on a machine that has a quarter of the examples; 3 of 4 machines
    assert rows["ram", "float16"] == ["4.97", "GB", "1.12", "GB", "0", "bytes"]
    assert rows["disk", "float16"] == ["3.85", "GB", "0", "bytes", "0", "bytes"]


def test_without_arguments_the_known_sizes(done):
    ran = done("plan-memory")
    assert "ImageNet-1k: 1,281,167 examples × 1,000 classes" in ran.out
    assert "ImageNet-21k: 14,197,122 examples × 21,841 classes" in ran.out
    assert "1,000,000,000 examples × 1,000 classes" in ran.out
    assert " 8 TB" in ran.out
    assert ran.out.count("a teacher's cache, data.cycle 10") == 3
    # 10 × a billion × (4 × 1,000 + 8) bytes
    assert " 40.1 TB" in ran.out


def test_a_cache_has_rows_of_its_cycle_and_views(done):
    ran = done("plan-memory", "--examples", 1000, "--classes", 2, "--cycle", 3, "--views", 2)
    assert "a teacher's cache, data.cycle 3, 2 view(s)" in ran.out
    # the top one of two classes: 4 × 2 + 2 and 8
    assert ["float32", "1", "108", "kB", "36", "kB", "yes"] in [line.split() for line in ran.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--examples", 10], "give --examples and --classes, or neither"),
        (["--examples", 0, "--classes", 2], "Invalid value for '--examples'"),
        (["--folder", "nowhere"], "cannot measure the disk of nowhere: No such file or directory"),
    ],
)
def test_misuse_is_one_line(refused, words, reason):
    assert reason in refused("plan-memory", *words)
