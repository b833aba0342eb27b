"""Weights files: sound ones load whole, all others are named, and nothing in them is ever executed."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.train.weights import load_weights, read_weights


def net(width=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


class Marker:
    """A pickle of this makes a folder when it is read by pickle itself."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def weights():
    return net().state_dict()


WRITERS = {
    "plain.safetensors": save_file,
    "plain.pt": torch.save,
    "legacy.pth": lambda w, path: torch.save(w, path, _use_new_zipfile_serialization=False),
    "nested.pt": lambda w, path: torch.save({"epoch": 3, "state_dict": w}, path),
    "model.bin": lambda w, path: torch.save({"model": w}, path),
    "parallel.pt": lambda w, path: torch.save({f"module.{key}": value for key, value in w.items()}, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_sound_file_loads_whole(tmp_path, weights, name):
    WRITERS[name](weights, tmp_path / name)
    found, metadata = read_weights(tmp_path / name)
    assert metadata == {}
    other = net()
    nn.init.zeros_(other[0].weight)
    load_weights(other, found, name)
    assert all(torch.equal(value, weights[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize("name", ["plain.safetensors", "plain.pt", "legacy.pth"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named(tmp_path, weights, name, share):
    path = tmp_path / name
    WRITERS[name](weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(LimbeckError, match=rf"{name} is not a sound (safetensors|torch) file"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"hello there\n" * 10, b"\x80\x02}", bytes(range(256)) * 9, b"PK\x03\x04 no zip"])
def test_what_is_no_weights_file_is_named(tmp_path, suffix, content):
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(content)
    with pytest.raises(LimbeckError, match=rf"junk\{suffix} is not a sound"):
        read_weights(path)


def test_a_folder_is_no_weights_file(tmp_path):
    with pytest.raises(LimbeckError, match="is not a sound torch file"):
        read_weights(tmp_path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_in_a_pickle_is_never_executed(tmp_path, weights, protocol):
    marker, path = tmp_path / "executed", tmp_path / "evil.pt"
    evil = {"state_dict": weights, "extra": Marker(marker)}
    torch.save(evil, path, pickle_protocol=max(protocol, 2))
    with pytest.raises(LimbeckError, match=r"evil\.pt (holds Python objects beside tensors|is not a sound torch file)"):
        read_weights(path)
    path.write_bytes(pickle.dumps(Marker(marker), protocol=protocol))
    with pytest.raises(LimbeckError, match=r"evil\.pt "):
        read_weights(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the pickle did hold code"


def test_a_whole_model_is_refused_with_what_to_save_instead(tmp_path):
    torch.save(net(), tmp_path / "whole.pt")
    with pytest.raises(LimbeckError, match=r"whole\.pt holds Python objects .* save the state_dict alone"):
        read_weights(tmp_path / "whole.pt")


@pytest.mark.parametrize("content", [{"a": 1}, {0: torch.ones(2)}, torch.ones(3), [torch.ones(3)], {"a": {}}])
def test_what_is_no_state_dict_is_named(tmp_path, content):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(LimbeckError, match=r"odd\.pt does not hold a state_dict"):
        read_weights(tmp_path / "odd.pt")


def test_another_architecture_is_named_by_its_first_difference(weights):
    with pytest.raises(
        LimbeckError, match=r"t\.pt holds .* another architecture: '0.bias' is \[3\] in the file, \[5\]"
    ):
        load_weights(net(5), weights, "t.pt")
    fewer = {key: value for key, value in weights.items() if not key.startswith("1.")}
    with pytest.raises(LimbeckError, match=r"'1\.bias' is missing \(5 missing, 0 unknown in all\)"):
        load_weights(net(), fewer, "t.pt")
    with pytest.raises(LimbeckError, match=r"'extra' is unknown \(0 missing, 1 unknown in all\)"):
        load_weights(net(), {**weights, "extra": torch.ones(1)}, "t.pt")
