"""Taps: read inner representations of any `nn.Module` by dotted module path, without touching the module's code."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from limbeck.core.batch import Output
from limbeck.errors import LimbeckError, nearest


class Tapped(nn.Module):
    """A network that also returns what chosen modules put out.

    `"layer2.bn1"` is the output of that module. A later in-place operation (an in-place ReLU after a tapped batch norm)
    would overwrite the tensor, so networks that contain one hand out copies; one that overwrites by hand, which cannot
    be seen beforehand, is refused by name.

    Attributes:
        net: the network.
        paths: the dotted module paths.

    Raises:
        LimbeckError: no module has that path, or it did not run, put out no tensor, or was overwritten in place.
    """

    def __init__(self, net: nn.Module, paths: Sequence[str]) -> None:
        super().__init__()
        modules = dict(net.named_modules())
        for path in paths:
            if path not in modules:
                raise LimbeckError(f"the network has no layer {path!r}{nearest(path, modules)}")
        self.net = net
        self.paths = tuple(paths)
        self._copy = any(getattr(module, "inplace", False) for module in modules.values())
        self._seen: dict[str, tuple[Tensor, int]] = {}
        for path in self.paths:
            # a partial, since a copy of this module must keep what its own layers put out: closures are not copied
            modules[path].register_forward_hook(functools.partial(self._keep, path))

    def forward(self, view: Tensor) -> Output:
        """Return logits [B, K] and the tapped tensors by path."""
        self._seen.clear()
        logits = self.net(view)
        for path in self.paths:
            if path not in self._seen:
                raise LimbeckError(f"layer {path!r} did not run in this forward, so there is nothing to tap")
            tensor, version = self._seen[path]
            if tensor._version != version:
                raise LimbeckError(f"layer {path!r} was overwritten in place after it ran; tap a later layer")
        taps = {path: tensor for path, (tensor, _) in self._seen.items()}
        self._seen.clear()
        return Output(logits, taps)

    def _keep(self, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            raise LimbeckError(f"layer {path!r} puts out {kind}, not one tensor; tap a layer inside it")
        tensor = output.clone() if self._copy else output
        self._seen[path] = (tensor, tensor._version)
