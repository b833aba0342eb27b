"""Sizes, and whether they fit."""

from pathlib import Path

import pytest
import torch

from limbeck.core import LimbeckError, Room
from limbeck.memory import Dense, PredictionBank, TopK, homes
from limbeck.memory.homes import Slot, check_fits, free_bytes
from limbeck.memory.sizes import Layout, costs, in_words, traffic
from limbeck.memory.speed import DiskSpeed, RowSpeed, epoch_seconds

CPU = torch.device("cpu")


def test_the_sizes_of_imagenet():
    assert Layout(1_281_167, 1000).bytes == 2 * 1_281_167 * 4001
    by_name = {
        (cost.place, str(cost.layout.format)): cost for cost in costs(100, 50, students=3, window=2, processes=4)
    }
    assert len(by_name) == 9
    whole = 3 * 3 * 100 * (4 * 50 + 1)
    assert by_name["device", "float32"][2:] == (whole, 4 * whole)
    assert by_name["ram", "float16"][2:] == (3 * 3 * 100 * 101, 4 * 3 * 3 * 100 * 101)
    assert by_name["disk", "the top 10 in float16"][2:] == (0, 3 * 3 * 100 * 41)


def test_what_processes_send():
    layout = Layout(1000, 50, 2, TopK(10, "float16"))
    row = 10 * (2 + 2) + 4
    found = {
        (place, shuffle): traffic(layout, place, shuffle, processes=4, nodes=2)
        for place in ("ram", "disk")
        for shuffle in ("global", "node", "process")
    }
    assert found["ram", "global"] == (1000 * 7 // 8 * row, 0)
    assert found["ram", "node"] == (500 * 3 // 4 * row, 2 * 500 * row)
    assert found["ram", "process"] == (0, 2 * 125 * row)
    assert found["disk", "global"] == (1000 // 2 * row, 0)
    assert found["disk", "node"] == found["disk", "process"] == (0, 0)
    for place in ("device", "ram", "disk"):
        for shuffle in ("global", "node", "process"):
            assert traffic(layout, place, shuffle)[0] == 0


@pytest.mark.parametrize("format", [Dense(), Dense("float16"), TopK(3), TopK(3, "float16")], ids=str)
def test_what_is_allocated_is_what_was_said(format):
    layout = Layout(30, 7, 1, format)
    slots = [Slot.empty(layout, CPU) for _ in range(layout.slots)]
    held = sum(tensor.nbytes for slot in slots for tensor in (*slot.parts, slot.there))
    assert held == layout.bytes


def test_numbers_of_bytes_in_words():
    words = [in_words(size) for size in (0, 999, 1000, 12_345, 999_600, 5.12e9, 8.2e12, 1.2e18)]
    assert words == ["0 bytes", "999 bytes", "1 kB", "12.3 kB", "1 MB", "5.12 GB", "8.2 TB", "1,200,000 TB"]


def test_what_does_not_fit_is_refused_with_what_would(tmp_path, monkeypatch):
    free = {"device": 10_000, "ram": 10_000, "disk": 30_000}
    monkeypatch.setattr(homes, "free_bytes", lambda place, device, folder: free[place])
    bank = PredictionBank(Room(100, folder=tmp_path), "ram")
    with pytest.raises(LimbeckError) as said:
        bank.record(torch.tensor([0]), torch.full((1, 25), 0.04))
    assert str(said.value) == (
        "the past predictions (100 examples × 25 classes × 2 epochs in float32, 20.2 kB each) need 20.2 kB on "
        "bank=ram, where 10 kB are free; what fits: bank=device in the top 10 in float16 (8.2 kB), bank=ram in the top "
        "10 in float16 (8.2 kB), bank=disk in float32 (20.2 kB), bank=disk in float16 (10.2 kB), bank=disk in the top "
        "10 in float16 (8.2 kB)"
    )
    layout = Layout(100, 25)
    check_fits("disk", layout, CPU, tmp_path, 1, 8)
    with pytest.raises(LimbeckError, match="need 40.4 kB on bank=disk"):
        check_fits("disk", layout, CPU, tmp_path, 2, 1)
    with pytest.raises(LimbeckError, match="what fits: nothing here"):
        check_fits("ram", layout, CPU, None, 1, 8)


def test_free_space_is_that_of_the_machine(tmp_path):
    assert free_bytes("ram", CPU, None) == pytest.approx(free_bytes("device", CPU, None), rel=0.5)
    assert free_bytes("disk", CPU, None) is None
    assert free_bytes("disk", CPU, tmp_path / "not" / "there") > 0
    assert free_bytes("disk", CPU, Path("not-there-either")) > 0


def test_an_epochs_time_from_the_speeds():
    rows, disk = RowSpeed(1e-6, 2e-6), DiskSpeed(1e8, 2e8, 1e-4)
    found = {cost.place: cost for cost in costs(1000, 2000, window=2, processes=2) if cost.layout.format == Dense()}
    settings = {"students": 1, "processes": 2}
    in_memory = 1000 * (1e-6 + 2 * 2e-6) / 2
    assert epoch_seconds(found["ram"], rows, disk, free=0, **settings) == pytest.approx(in_memory)
    cached = in_memory + 1000 * 8000 / 1e8
    assert epoch_seconds(found["disk"], rows, disk, free=None, **settings) == pytest.approx(cached)
    read = 1e-4 + 8000 / 2e8
    cold = in_memory + 1000 * (read + 8000 / 1e8 + 2 * read)
    assert epoch_seconds(found["disk"], rows, disk, free=10**6, **settings) == pytest.approx(cold)
