"""A copy of a network that relevance can be followed through: batch norms are merged, additions are modules.

A batch norm behind a convolution or linear layer scales its weights, some of them by less than 0: the rules, which
tell positive contributions from negative ones, must see the product. Which layer stands behind which is read from a run
of the network, not from the order in which its modules were defined. A batch norm with nothing to be merged into
(pre-activation blocks, DenseNet) stays, and relevance passes it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from limbeck.core.batch import Output
from limbeck.models.layers import Add

Node: TypeAlias = Any
"""An operation in the graph that a forward pass leaves behind; its type is torch's own."""

# by these attributes the blocks of torchvision and timm that put out branch(x) + x say that they do
_SKIPS = ("use_res_connect", "has_skip")


class Canonical(NamedTuple):
    """A network in the form that the rules of relevance fit.

    Attributes:
        network: in float64 and eval mode; it computes what the original does.
        first: the layer with weights that is the first to run.
        last: the layer with weights that is the last to run, if it sees one pixel alone, and so is linear.
    """

    network: nn.Module
    first: nn.Module | None
    last: nn.Module | None


def double(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a frozen copy in float64 and eval mode, without activations that write over their input."""
    twin: Any = copy.deepcopy(network).eval().requires_grad_(False).to(device, torch.float64)
    for layer in twin.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False
    result: nn.Module = twin
    return result


def answer(network: nn.Module, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
    """Return the logits of a network that puts them out bare or as an `Output`."""
    said: Tensor | Output = network(images)
    return said.logits if isinstance(said, Output) else said


def canonize(twin: nn.Module, images: Float64[Tensor, "batch channels height width"]) -> Canonical:
    """Change a network of `double` in place, by what happens when it sees these images."""
    from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer

    for canonizer in (ResNetBasicBlockCanonizer(), ResNetBottleneckCanonizer()):
        canonizer.apply(twin)
    _pool_by_a_layer(twin)
    for block in list(twin.modules()):
        for name in _SKIPS:
            if getattr(block, name, None) is True:
                setattr(block, name, False)
                block.register_module("added_skip", Add())
                block.register_forward_hook(_add_input)
    calls, uses = _traced(twin, images)
    _merge_batch_norms(calls, uses)
    weighted = [call for call in calls if isinstance(call.layer, nn.Linear | _ConvNd)]
    if not weighted:
        return Canonical(twin, None, None)
    one_pixel = all(size == 1 for size in weighted[-1].shape[2:])
    return Canonical(twin, weighted[0].layer, weighted[-1].layer if one_pixel else None)


def operations(logits: Float[Tensor, "batch classes"]) -> Iterator[Node]:
    """Yield every operation between images and logits once."""
    found, waiting = {logits.grad_fn}, [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        following = {before for before, _ in node.next_functions} - found
        found |= following
        waiting += following


class _Call(NamedTuple):
    """One call of a layer: the operations that made its input and its output, and the shape of its input."""

    layer: nn.Module
    entered: Node
    left: Node
    shape: torch.Size


def _pool_by_a_layer(twin: Any) -> None:
    """Let a layer take the mean over the map where torchvision's MobileNetV2 and DenseNet call a function."""
    from torchvision.models import DenseNet, MobileNetV2

    if not isinstance(twin, DenseNet | MobileNetV2):
        return
    activation = nn.ReLU() if isinstance(twin, DenseNet) else nn.Identity()
    twin.added_tail = nn.Sequential(activation, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    twin.forward = lambda images: twin.classifier(twin.added_tail(twin.features(images)))


def _add_input(block: Any, entered: Any, left: Tensor) -> Tensor:
    """Forward hook of a block that no longer adds its input by itself."""
    added: Tensor = block.added_skip(left, entered[0])
    return added


def _traced(network: nn.Module, images: Tensor) -> tuple[list[_Call], Counter[Node]]:
    """Run a network; return the calls of its layers in their order, and how often each operation's result is used."""
    calls: list[_Call] = []

    def note(layer: nn.Module, entered: Any, left: Any) -> None:
        if entered and isinstance(entered[0], Tensor) and isinstance(left, Tensor):
            calls.append(_Call(layer, entered[0].grad_fn, left.grad_fn, entered[0].shape))

    # timm's batch norms hold their activation
    layers = [one for one in network.modules() if isinstance(one, _BatchNorm) or not list(one.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad():
            logits = answer(network, images.clone().requires_grad_(True))
    finally:
        for hook in hooks:
            hook.remove()
    return calls, Counter(before for node in operations(logits) for before, _ in node.next_functions)


def _merge_batch_norms(calls: list[_Call], uses: Counter[Node]) -> None:
    """Merge each batch norm into the layer whose output goes to it alone, where each of the two runs once."""
    runs = Counter(call.layer for call in calls)
    makers = {call.left: call.layer for call in calls if isinstance(call.layer, nn.Linear | nn.Conv1d | nn.Conv2d)}
    for call in calls:
        norm, before = call.layer, makers.get(call.entered)
        if before is None or not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        if uses[call.entered] == runs[norm] == runs[before] == 1:
            _merge(before, norm)


def _merge(before: Any, norm: Any) -> None:
    """Give a layer's weights and bias what the batch norm does, and make that the identity."""
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    if before.bias is not None:
        shift = shift + before.bias * scale
    rows = scale.reshape(-1, *(1 for _ in before.weight.shape[1:]))
    before.weight = nn.Parameter(before.weight * rows, requires_grad=False)
    before.bias = nn.Parameter(shift, requires_grad=False)
    # it stays in its place, for it may be of a class that does more
    norm.running_mean, norm.running_var = torch.zeros_like(scale), torch.ones_like(scale)
    norm.weight, norm.bias, norm.eps = None, None, 0.0
