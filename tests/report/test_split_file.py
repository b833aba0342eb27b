"""How a run's folder says which channels of its student inherit and which explore."""

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


def test_a_run_without_the_file_or_without_channels_in_it_is_not_split(tmp_path):
    assert split_of(tmp_path) is None
    write(tmp_path, {"coder.weight": torch.ones(2)}, None)
    assert split_of(tmp_path) is None


@pytest.mark.parametrize(
    ("tail", "about"),
    [("", {"split_layer": "layer3"}), ("_0", {"splits": {"matchers.0.{}_channels_0": "layer3", "other": "layer1"}})],
)
def test_the_layer_and_both_parts_are_read(tmp_path, tail, about):
    named = {f"matchers.0.inherit_channels{tail}": ONE, f"matchers.0.explore_channels{tail}": OTHER, "w": ONE.clone()}
    write(tmp_path, named, about)
    found = split_of(tmp_path)
    assert found is not None
    assert found.layer == "layer3"
    assert torch.equal(found.inherit, ONE)
    assert torch.equal(found.explore, OTHER)


def test_of_several_layers_the_last_one_counts(tmp_path):
    tensors, layers = {}, {}
    for i in range(11):
        tensors |= {f"m.inherit_channels_{i}": ONE + i, f"m.explore_channels_{i}": OTHER + i}
        layers[f"m.{{}}_channels_{i}"] = f"layer{i}"
    write(tmp_path, tensors, {"splits": layers})
    found = split_of(tmp_path)
    assert found is not None
    assert (found.layer, found.inherit.tolist()) == ("layer10", [10, 13])


@pytest.mark.parametrize(
    ("missing", "about"),
    [
        ("explore_channels", {"split_layer": "layer3"}),
        (None, None),
        (None, "{"),
        (None, []),
        (None, {"classes": 3}),
        (None, {"splits": {}}),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, missing, about):
    tensors = {"inherit_channels": ONE, "explore_channels": OTHER}
    write(tmp_path, {name: value for name, value in tensors.items() if name != missing}, about)
    with pytest.raises(LimbeckError, match=r"matchers.safetensors is damaged; remove its folder and train again"):
        split_of(tmp_path)


def test_no_safetensors_file_or_several_matchers_are_refused(tmp_path):
    (tmp_path / "matchers.safetensors").write_bytes(b"nothing")
    with pytest.raises(LimbeckError, match="not a sound safetensors file"):
        split_of(tmp_path)
    write(tmp_path, {"a.inherit_channels": ONE, "b.inherit_channels": ONE.clone()}, {"split_layer": "layer3"})
    with pytest.raises(LimbeckError, match="several matchers"):
        split_of(tmp_path)
