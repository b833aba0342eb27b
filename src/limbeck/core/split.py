"""Where a network can be split: which of its modules have finished when a layer begins, found by running it once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from limbeck.errors import LimbeckError, nearest

# Sides of the images on which a network is tried; most read any size, some one alone.
SIDES = (32, 64, 224, 28, 8)
# What networks raise on images that they cannot read, or on layers of theirs that are no longer what they were.
UNREADABLE = (RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError)


class Stem(NamedTuple):
    """What lies before a split.

    Attributes:
        paths: of the largest modules that have finished by then, in the order of their definition.
        overwritten: those of them of which the output may be changed in place later on.
        features: the number of channels of what enters the split layer.
        axis: where in its shape they are.
        probe: two black images that the network reads, [2, C, H, W] ([2, F] where it begins with a linear layer).
    """

    paths: Sequence[str]
    overwritten: Collection[str]
    features: int
    axis: int
    probe: Tensor


def find_stem(network: nn.Module, split: str) -> Stem:
    """Return what a network has finished when the layer `split` begins for the first time.

    Raises:
        LimbeckError: there is no such layer, or it does not run; no weights lie before it, or none from it on; a layer
            with weights runs before and after; the network reads no image.
    """
    modules = dict(network.named_modules())
    if split not in modules or not split:
        layers = ", ".join(name for name, _ in network.named_children())
        raise LimbeckError(f"the network has no layer {split!r}{nearest(split, modules, f'its layers: {layers}')}")
    calls, probe = _traced(network, modules[split])
    if modules[split] not in calls.began:
        raise LimbeckError(f"layer {split!r} does not run, so a network cannot be split there: split at another")
    moment = calls.began[modules[split]]
    paths = list(_finished(network, calls, moment))
    for path, module in modules.items():
        ends = calls.ends.get(module, [moment])
        if ends[0] < moment < ends[-1] and any(True for _ in (*module.parameters(), *module.buffers())):
            raise LimbeckError(f"layer {path!r} runs before {split!r} and again after it: split elsewhere")
    shared = {id(weight) for path in paths for weight in modules[path].parameters()}
    own = {id(weight) for weight in network.parameters()} - shared
    if not shared:
        raise LimbeckError(f"no layer with weights has finished when {split!r} begins: split at a later one")
    if not own:
        raise LimbeckError(f"no weights are left to the branches from {split!r} on: split at an earlier layer")
    for path in paths:
        if not all(isinstance(output, Tensor) for output, _ in calls.outputs[modules[path]]):
            raise LimbeckError(f"layer {path!r}, before {split!r}, puts out more than one tensor: split elsewhere")
    # a dropout in place shows in training only
    unseen = any(isinstance(module, _DropoutNd) and module.inplace for module in modules.values())
    overwritten = {path for path in paths if unseen or calls.changed(modules[path])}
    axis = _channels(calls.entered, split)
    return Stem(paths, overwritten, calls.entered[axis], axis, probe)


def pooled(inputs: Sequence[Any], named: Mapping[str, Any], axis: int) -> Float[Tensor, "batch features"]:
    """Return a layer's first input, averaged over all but batch and features."""
    features = _first(inputs, named)
    places = [place for place in range(1, features.ndim) if place != axis]
    return features.mean(places) if places else features


def _first(inputs: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    return next((value for value in (*inputs, *named.values()) if isinstance(value, Tensor)), torch.empty(0))


def _channels(shape: Sequence[int], split: str) -> int:
    """Return where the features are: [B, F, H, W], or [B, H, W, F] by its square places, [B, N, F] tokens, [B, F]."""
    if len(shape) not in {2, 3, 4}:
        raise LimbeckError(f"layer {split!r} is given {list(shape)}, of which the gate makes nothing: split elsewhere")
    if len(shape) == 4:
        return 3 if shape[1] == shape[2] != shape[3] else 1
    return len(shape) - 1


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode, and every module of it back into its own afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Calls:
    """When each module began and ended, counted in events, and what it put out."""

    def __init__(self, split: nn.Module) -> None:
        self.split = split
        self.now = 0
        self.began: dict[nn.Module, int] = {}
        self.ends: dict[nn.Module, list[int]] = {}
        self.outputs: dict[nn.Module, list[tuple[Any, int]]] = {}
        self.entered: Sequence[int] = ()

    def begin(self, module: nn.Module, inputs: Any, named: Any) -> None:
        self.now += 1
        self.began.setdefault(module, self.now)
        if module is self.split and not self.entered:
            self.entered = tuple(_first(inputs, named).shape)

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.now += 1
        self.ends.setdefault(module, []).append(self.now)
        version = output._version if isinstance(output, Tensor) else 0
        self.outputs.setdefault(module, []).append((output, version))

    def changed(self, module: nn.Module) -> bool:
        """Say whether something has changed what a module put out, afterwards."""
        return any(output._version != version for output, version in self.outputs[module])


def _traced(network: nn.Module, split: nn.Module) -> tuple[_Calls, Tensor]:
    """Run a network on the first images that it can read."""
    for probe in _probes(network):
        calls = _Calls(split)
        hooks = [
            hook
            for module in network.modules()
            for hook in (
                module.register_forward_pre_hook(calls.begin, with_kwargs=True),
                module.register_forward_hook(calls.end),
            )
        ]
        try:
            with at_rest(network), torch.no_grad():
                network(probe)
        except UNREADABLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            continue
        finally:
            for hook in hooks:
                hook.remove()
        return calls, probe
    sides = ", ".join(map(str, SIDES))
    raise LimbeckError(f"the network reads no image of {sides} pixels a side, so it cannot be split ({reason})")


def _probes(network: nn.Module) -> Iterator[Tensor]:
    """Yield what a network may read, by its first convolution or linear layer."""
    weight: Tensor = next(network.parameters(), torch.empty(0))
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)
    if isinstance(first, nn.Linear):
        yield weight.new_zeros(2, first.in_features)
        return
    for side in SIDES:
        yield weight.new_zeros(2, 3 if first is None else first.in_channels, side, side)


def _finished(module: nn.Module, calls: _Calls, moment: int, path: str = "") -> Iterator[str]:
    """Yield the paths of the largest modules of which every call ended before a moment."""
    for name, child in module.named_children():
        ends = calls.ends.get(child)
        if ends is not None and ends[-1] < moment:
            yield path + name
        else:
            yield from _finished(child, calls, moment, f"{path}{name}.")
