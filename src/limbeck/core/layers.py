"""What the layers of any network put out: found by one forward pass, without touching the network's code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from limbeck.errors import LimbeckError, nearest

_RELUS = {
    functional.relu,
    functional.relu_,
    functional.relu6,
    functional.hardtanh,
    functional.hardtanh_,
    functional.leaky_relu,
    functional.leaky_relu_,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
}


# what a network is looked at with: as many rows as that has the output of a layer that speaks of whole images
_IMAGES = 2


class Layer(NamedTuple):
    """What one module of a network puts out.

    Attributes:
        path: dotted, as in `named_modules()`.
        kind: name of its class.
        shape: of the output for one image: [C, H, W] of a map.
        runs: how often it runs in one forward pass.
        before_relu: whether its very output goes through a ReLU (or a leaky or capped one).
        overwritten: whether something later changes its output in place.
        convolution: whether it is one.
        norm: the batch norm that its output comes from: of a sum, that of the first addend that one put out; else the
            last one of as many channels that had run when it ended. None where there is none, and for a convolution.
        relu_of: the layer whose very output it puts out after a ReLU, or None.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    runs: int
    before_relu: bool
    overwritten: bool
    convolution: bool
    norm: nn.BatchNorm2d | None
    relu_of: str | None = None


Layers: TypeAlias = Mapping[str, Layer]


def probe(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Layer]:
    """Return every layer that puts out one tensor, a row for each image, in the order in which they end.

    The network answers two images of zeros in eval mode, without gradient, and is left as it was. On the device "meta"
    this takes neither memory nor time.

    Args:
        network: any, on any device.
        shape: of one image, [C, H, W].

    Raises:
        LimbeckError: the network cannot read such images.
    """
    weight = next(network.parameters(), None)
    view = torch.zeros(_IMAGES, *shape, device=None if weight is None else weight.device)
    look = _Look()
    handles = [
        module.register_forward_hook(functools.partial(look.at, path))
        for path, module in network.named_modules()
        if path
    ]
    handles += [
        module.register_forward_pre_hook(look.begin)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    try:
        with _evaluating(network), torch.no_grad(), look:
            network(view)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LimbeckError(f"the network cannot read images of {'×'.join(map(str, shape))}: {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
    return look.layers()


class _Seen(NamedTuple):
    module: nn.Module
    output: Tensor
    version: int
    norm: nn.BatchNorm2d | None


class _Look(TorchFunctionMode):
    """Hears of every module that ends, and of every tensor that enters a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[_Seen]] = {}
        self.before_relu: set[str] = set()
        self._rectified: list[tuple[Tensor, int, str]] = []
        self._norms: dict[int, nn.BatchNorm2d] = {}
        self._normed: list[tuple[Tensor, nn.BatchNorm2d]] = []

    def begin(self, norm: nn.BatchNorm2d, inputs: Any) -> None:
        # when it begins, not when it ends: timm's batch norms have layers of their own
        self._norms[norm.num_features] = norm

    def at(self, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != _IMAGES:
            return
        if isinstance(module, nn.BatchNorm2d):
            self._normed.append((output, module))
        if isinstance(module, nn.Conv2d) and output.shape[2:].numel() > 1:
            # what a convolution puts out no earlier batch norm describes; squeeze and excitation only rescales it
            self._norms.pop(output.shape[1], None)
        # what ended twice is listed where it ended last
        before = self.seen.pop(path, [])
        self.seen[path] = [*before, _Seen(module, output, output._version, self._norm(module, inputs, output))]

    def _norm(self, module: nn.Module, inputs: Any, output: Tensor) -> nn.BatchNorm2d | None:
        if isinstance(module, nn.Conv2d):
            return None
        last = self._norms.get(output.shape[1])
        if any(True for _ in module.children()):
            return last
        # the batch norm of a shortcut may run after that of the branch
        addends = [
            norm for one in inputs for normed, norm in self._normed if normed is one and one.shape == output.shape
        ]
        return addends[0] if addends else last

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function not in _RELUS:
            return function(*args, **(kwargs or {}))
        entering = args[0] if args else kwargs["input"]
        entered = [
            path
            for path, runs in self.seen.items()
            if runs[-1].output is entering and runs[-1].version == entering._version
        ]
        self.before_relu.update(entered)
        left = function(*args, **(kwargs or {}))
        self._rectified += [(left, left._version, path) for path in entered]
        return left

    def _relu_of(self, one: _Seen) -> str | None:
        found = [path for left, version, path in self._rectified if left is one.output and version == one.version]
        return found[-1] if found else None

    def layers(self) -> dict[str, Layer]:
        return {
            path: Layer(
                path=path,
                kind=type(runs[-1].module).__name__,
                shape=tuple(runs[-1].output.shape[1:]),
                runs=len(runs),
                before_relu=path in self.before_relu,
                overwritten=any(run.output._version != run.version for run in runs),
                convolution=isinstance(runs[-1].module, nn.Conv2d),
                norm=runs[-1].norm,
                relu_of=self._relu_of(runs[-1]),
            )
            for path, runs in self.seen.items()
        }


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        # by their own method, since some look and answer otherwise in training; from the outermost on
        for module, mode in modes:
            if module.training != mode:
                module.train(mode)


def layer_at(layers: Layers, path: str, whose: str) -> Layer:
    """Return a layer that can be tapped for its map.

    Args:
        layers: of `probe`.
        path: of the layer.
        whose: how errors call the network.

    Raises:
        LimbeckError: there is none of that path (the nearest is named), it puts out no map, or runs more than once.
    """
    if path not in layers:
        raise LimbeckError(
            f"{whose} has no layer {path!r} that puts out a tensor{nearest(path, layers, 'limbeck list layers MODEL')}"
        )
    layer = layers[path]
    if len(layer.shape) != 3:
        written = "×".join(map(str, layer.shape))
        raise LimbeckError(
            f"layer {path!r} of {whose} puts out {written} numbers for an image, not a map of channels × height × "
            "width: take a layer before the pooling"
        )
    if layer.runs > 1:
        once = [name for name, other in layers.items() if other.runs == 1 and len(other.shape) == 3]
        raise LimbeckError(
            f"layer {path!r} of {whose} runs {layer.runs} times in a forward pass, and which one is meant is not "
            f"clear: take one that runs once{nearest(path, once, 'limbeck list layers MODEL')}"
        )
    return layer


def stages(layers: Layers) -> list[list[Layer]]:
    """Return the layers that put out maps and run once, by the map's height and width, in order.

    A size at which fewer than two convolutions run (the first of a network for large images, the pooled map) is no
    stage, unless all are so; nor are single numbers with maps after them (what squeeze-and-excitation weighs by).
    """
    sizes: dict[tuple[int, ...], list[Layer]] = {}
    for layer in layers.values():
        if len(layer.shape) == 3 and layer.runs == 1:
            if layer.shape[1:] != (1, 1):
                sizes.pop((1, 1), None)
            sizes.setdefault(layer.shape[1:], []).append(layer)
    for least in (2, 1):
        found = [group for group in sizes.values() if sum(layer.convolution for layer in group) >= least]
        if found:
            return found
    return []


def stage_ends(layers: Layers) -> list[Layer]:
    """Return the layers with which each stage ends: the last among those with the shortest paths.

    Only layers from a stage's first convolution on count, so that what prepares the images is no end of one.
    """
    return [_end(group) for group in stages(layers)]


def _end(stage: Sequence[Layer]) -> Layer:
    first = next(i for i, layer in enumerate(stage) if layer.convolution)
    return max(enumerate(stage[first:]), key=lambda at: (-at[1].path.count("."), at[0]))[1]


def ends_before_relu(layers: Layers) -> list[Layer]:
    """Return the layer before the ReLU that ends each stage; of one that ends otherwise, the last one before a ReLU.

    A stage without any has none.
    """
    found = []
    for group, end in zip(stages(layers), stage_ends(layers), strict=True):
        before = [layer for layer in group if layer.before_relu]
        # after it, a bottleneck of the next stage may go on at the same size
        own = [layer for layer in before if layer.path == end.relu_of]
        found += (own or before)[-1:]
    return found


def block_ends(layers: Layers, most: int = 20) -> list[Layer]:
    """Return the ends of stages and of the blocks in them, in order; of too many, blocks at even distances.

    A block has layers of its own. It stands as high in the network as the end of its stage, or is in a numbered list
    that does; the last of a list is left out, for the list puts out the same.

    Args:
        layers: of `probe`.
        most: at most so many, but every end of a stage.
    """
    ends = {layer.path for layer in stage_ends(layers)}
    parents = {path.rpartition(".")[0] for path in layers}
    found = set(ends)
    for group in stages(layers):
        top = min(layer.path.count(".") for layer in group)
        for path in (layer.path for layer in group if layer.path in parents):
            deeper, numbered = path.count(".") - top, path.rpartition(".")[2].isdecimal()
            if deeper == 0 or (deeper == 1 and numbered):
                found.add(path)
    last = {above: path for path in layers for above, _, name in [path.rpartition(".")] if name.isdecimal()}
    blocks = [path for path in layers if path in found - ends - {last.get(path) for path in found}]
    room = max(0, most - len(ends))
    if len(blocks) > room:
        blocks = [blocks[(2 * i + 1) * len(blocks) // (2 * room)] for i in range(room)]
    return [layer for path, layer in layers.items() if path in ends or path in blocks]
