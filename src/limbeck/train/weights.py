"""Weights from a file: files from others are data, and nothing in them is executed."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from limbeck.errors import LimbeckError

# What torch's unpickler has been seen to raise on bytes that are no pickle, or half of one
_BROKEN = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError)


def fingerprint(net: nn.Module) -> str:
    """Return the SHA-256 of a network's weights, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_weights(path: Path) -> tuple[Mapping[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors or torch file, and its metadata. Nothing in the file is executed.

    Raises:
        LimbeckError: the file is damaged, or a pickle that holds more than tensors.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise LimbeckError(f"{path} is not a sound safetensors file ({error}); copy or write it again") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the format of what it then refuses
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        if "GLOBAL" in str(error):
            raise LimbeckError(
                f"{path} holds Python objects beside tensors and is not opened: save the state_dict alone, or as "
                "safetensors"
            ) from error
        raise LimbeckError(
            f"{path} is not a sound torch file of tensors alone; copy it again, or save the state_dict as safetensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise LimbeckError(f"{path} does not hold a state_dict (names with tensors)")
    return {key.removeprefix("module."): tensor for key, tensor in found.items()}, {}


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights that must fit exactly.

    Raises:
        LimbeckError: they belong to another architecture; names the first difference.
    """
    own = net.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unknown = sorted(weights.keys() - own.keys())
    shapes = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    problem = ""
    if missing or unknown:
        first = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
        problem = f"{first} ({len(missing)} missing, {len(unknown)} unknown in all)"
    elif shapes:
        key = min(shapes)
        problem = f"{key!r} is {list(weights[key].shape)} in the file, {list(own[key].shape)} in the network"
    if problem:
        raise LimbeckError(f"{name} holds the weights of another architecture: {problem}")
    net.load_state_dict(dict(weights))
