"""Taps: hear what chosen layers of any `nn.Module` put out, without touching the module's code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from limbeck.core.layers import Layers
from limbeck.errors import LimbeckError


class Tap(NamedTuple):
    """What is wanted of a layer.

    Attributes:
        path: of the layer.
        reduce: what is kept of its output, computed at once, so that no more than that has to be kept; None is all.
    """

    path: str
    reduce: Callable[[Tensor], Tensor] | None = None


class Heard(NamedTuple):
    """What a layer put out.

    Attributes:
        output: all of it, or None where only what is kept of it was wanted.
        kept: what `Tap.reduce` makes of it.
    """

    output: Tensor | None
    kept: Tensor


class Taps:
    """Hears chosen layers of a network while it is asked to.

    An output that something later overwrites (an in-place ReLU after a tapped batch norm) is heard as it was: the
    network goes on with a copy.

    Attributes:
        taps: what is wanted.
        whole: whether the outputs themselves are kept too.

    Args:
        network: whose layers; its weights, names and mode stay as they are.
        taps: what is wanted of which layer, each path one of `layers`; what is wanted twice is heard once.
        layers: what `limbeck.core.layers.probe` found of the network.
    """

    def __init__(self, network: nn.Module, taps: Sequence[Tap], layers: Layers) -> None:
        self.taps, self.whole = tuple(dict.fromkeys(taps)), False
        self._copied = {path for path in {tap.path for tap in taps} if layers[path].overwritten}
        self._heard: dict[Tap, list[tuple[Heard, int]]] = {}
        self._listening = False
        modules = dict(network.named_modules())
        self._handles = [
            modules[path].register_forward_hook(functools.partial(self._hear, path))
            for path in dict.fromkeys(tap.path for tap in taps)
        ]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear every forward pass of the network in this context, and forget those before."""
        self._heard = {tap: [] for tap in self.taps}
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def take(self) -> list[dict[Tap, Heard]]:
        """Return what was heard in each forward pass, and forget it.

        Raises:
            LimbeckError: a layer did not run, or its output was overwritten by something that was not foreseen.
        """
        heard, self._heard = self._heard, {}
        passes = max(map(len, heard.values()), default=0)
        for tap, outputs in heard.items():
            if not outputs or len(outputs) != passes:
                raise LimbeckError(f"layer {tap.path!r} did not run in every forward pass, so there is nothing to tap")
            if any(one.kept._version != version for one, version in outputs):
                raise LimbeckError(f"layer {tap.path!r} was overwritten in place after it ran; tap a later layer")
        return [{tap: outputs[i][0] for tap, outputs in heard.items()} for i in range(passes)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Taps:
        """Return itself: a copy of the network has no ears of its own, and must not run while this one listens."""
        return self

    def close(self) -> None:
        """Leave the network."""
        for handle in self._handles:
            handle.remove()

    def _hear(self, path: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not self._listening:
            return None
        for tap in self.taps:
            if tap.path == path:
                kept = output if tap.reduce is None else tap.reduce(output)
                self._heard[tap].append((Heard(output if self.whole else None, kept), kept._version))
        return output.clone() if path in self._copied else None
