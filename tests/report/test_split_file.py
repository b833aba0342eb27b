"""How a run's folder says which channels of its students inherit and which explore."""

import json

import pytest
import safetensors.torch
import torch

from limbeck.errors import LimbeckError
from limbeck.report.split import split_of

ONE, OTHER = torch.tensor([0, 3]), torch.tensor([1, 2])


def write(folder, tensors, about):
    metadata = {} if about is None else {"limbeck": about if isinstance(about, str) else json.dumps(about)}
    safetensors.torch.save_file(tensors, folder / "matchers.safetensors", metadata)


def named(layer, student=0, number=0):
    return {"student": student, "layer": layer, "inherit": f"m.inherit_{number}", "explore": f"m.explore_{number}"}


def test_a_run_without_the_file_or_without_a_split_in_it_is_not_split(tmp_path):
    assert split_of(tmp_path) is None
    write(tmp_path, {"coder.weight": torch.ones(2)}, {"splits": []})
    assert split_of(tmp_path) is None


def test_each_student_has_its_own_and_of_several_layers_the_last_one_counts(tmp_path):
    tensors = {}
    for i in range(3):
        tensors |= {f"m.inherit_{i}": ONE + i, f"m.explore_{i}": OTHER + i}
    write(tmp_path, tensors, {"splits": [named("layer1"), named("layer3", 1, 1), named("layer2", 0, 2)]})
    found = split_of(tmp_path)
    assert found.layer == split_of(tmp_path, "student-0").layer
    assert (found.layer, found.inherit.tolist(), found.explore.tolist()) == ("layer2", [2, 5], [3, 4])
    assert split_of(tmp_path, "student-1").layer == "layer3"
    assert split_of(tmp_path, "student-2") is None


@pytest.mark.parametrize("about", [None, "{", [], {"classes": 3}, {"splits": [{}]}, {"splits": [named("x", number=9)]}])
def test_a_damaged_file_is_one_line(tmp_path, about):
    write(tmp_path, {"m.inherit_0": ONE, "m.explore_0": OTHER}, about)
    with pytest.raises(LimbeckError, match=r"matchers.safetensors is damaged; remove its folder and train again"):
        split_of(tmp_path)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "matchers.safetensors").write_bytes(b"nothing")
    with pytest.raises(LimbeckError, match="not a sound safetensors file"):
        split_of(tmp_path)
