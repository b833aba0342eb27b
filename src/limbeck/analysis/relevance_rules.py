"""The rules by which relevance passes a layer, written with zennit; each conserves it.

With z_jk = a_j w_jk and biases left out, a layer hands the relevance R_k of what it puts out to what it was given:

    plus      R_j = Σ_k z⁺_jk / Σ_i z⁺_ik R_k     convolutions; z⁺ = max(0, z) (Bach et al. 2015: α = 1, β = 0)
    epsilon   R_j = Σ_k z_jk / Σ_i z_ik R_k       linear layers and means, with an ε of 0
    flat      R_j = Σ_k R_k / #{i of k}           the first layer
    by size   R_j = |a_j| / Σ_i |a_i| R           the two that are added in a residual block
    pass      R_j = R_k                           activations, batch norms that were not merged, ShakeDrop, dropout

What no input contributes to (Σ = 0: its bias made it) hands its relevance on evenly, as flat does; what sees nothing
but padding, to all inputs. What is routed only (maximum, concatenation, slices, padding) takes its relevance along.

zennit's own rule for sums is epsilon's. Where the two cancel it hands on large shares of both signs: behind a batch
norm that was not merged, whose bias is relevant where the sum is next to 0, they grow from block to block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from limbeck.analysis.canonize import Canonical, operations
from limbeck.models.layers import Add
from limbeck.models.shakedrop import ShakeDrop

Composite: TypeAlias = Literal["epsilon_plus_flat", "epsilon_plus"]
Note: TypeAlias = Callable[[Tensor, Tensor], None]

# smaller sums count as 0: no activation is as small, and what is divided by it stays finite
_NOTHING = 1e-100
# operations outside of layers that route numbers, and so their relevance
_ROUTES = {
    "AdaptiveMaxPool2D", "Alias", "Cat", "ChannelShuffle", "Clone", "ConstantPadNd", "Index", "IndexSelect",
    "MaxPool2DWithIndices", "NativeChannelShuffle", "Permute", "Relu", "ReshapeAlias", "Select", "Slice", "Split",
    "SplitWithSizes", "Squeeze", "Stack", "ToCopy", "Transpose", "Unbind", "UnsafeView", "Unsqueeze", "View",
}  # fmt: skip


def attach(canonical: Canonical, composite: Composite) -> None:
    """Give each layer of a canonical network its rule, for good.

    Args:
        canonical: the network.
        composite: as zennit calls them: "epsilon_plus_flat", or "epsilon_plus", where the first layer is as others are.
    """
    from zennit import types
    from zennit.layer import Sum

    plus, epsilon, flat = _plus(), _epsilon(), _flat()
    passed = (types.Activation, _BatchNorm, _DropoutNd, ShakeDrop)
    for layer in canonical.network.modules():
        if isinstance(layer, Add):
            layer.register_forward_hook(lambda _, entered, left: _Shared.apply(*entered))
        elif isinstance(layer, Sum):
            layer.register_forward_hook(lambda _, entered, left: _Shared.apply(*entered[0].unbind(-1)))
        elif isinstance(layer, passed) and not isinstance(layer, nn.MultiheadAttention):
            layer.register_forward_hook(lambda _, entered, left: _Passed.apply(entered[0], left.detach()))
        elif layer is canonical.first and composite == "epsilon_plus_flat":
            layer.register_forward_hook(_by(flat))
        elif isinstance(layer, types.AvgPool | nn.Linear) or layer is canonical.last or _is_mean_of_timm(layer):
            layer.register_forward_hook(_by(epsilon))
        elif isinstance(layer, types.Convolution):
            layer.register_forward_hook(_by(plus))


def mask(
    left: Float[Tensor, "batch channels ..."], kept: Bool[Tensor, " channels"], note: Note
) -> Float[Tensor, "batch channels ..."]:
    """Return what a layer puts out, so that only the relevance of the kept channels goes on down.

    Args:
        left: what it puts out.
        kept: which channels.
        note: is told, on the way back, how much relevance arrived and how much goes on, each [B].
    """
    masked: Tensor = _Masked.apply(left, kept, note)
    return masked


def unseen(logits: Float[Tensor, "batch classes"]) -> list[str]:
    """Return the operations between images and logits that no rule covers and that do more than route."""
    ours = {f"{one.__name__}Backward" for one in (_Ruled, _Passed, _Shared, _Masked)}
    names = {node.name() for node in operations(logits)} - ours - {"torch::autograd::AccumulateGrad"}
    return sorted({name.rpartition("Backward")[0] or name for name in names} - _ROUTES)


class _Ruled(Function):
    """What a layer put out, with a rule in the place of its gradient."""

    @staticmethod
    def forward(ctx: Any, entered: Tensor, left: Tensor, layer: nn.Module, rule: Any) -> Tensor:
        ctx.layer, ctx.rule = layer, rule
        ctx.save_for_backward(entered)
        return left.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        # the rule is copied, for a layer may run twice, with an input each time
        (entered,), rule = ctx.saved_tensors, ctx.rule.copy()
        rule.forward(ctx.layer, (entered.detach(),), None)
        (handed,) = rule.backward(ctx.layer, (entered,), relevance)
        if _pads_beyond(ctx.layer):
            handed = handed + _of_padding(ctx.layer, entered, relevance[0])
        return handed, None, None, None


class _Passed(Function):
    """What an elementwise layer put out, with its relevance handed on as it is."""

    @staticmethod
    def forward(ctx: Any, entered: Tensor, left: Tensor) -> Tensor:
        return left.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        return relevance[0], None


class _Shared(Function):
    """A sum of two, whose relevance is shared by their sizes; where both are 0 the first has it all."""

    @staticmethod
    def forward(ctx: Any, branch: Tensor, shortcut: Tensor) -> Tensor:
        ctx.save_for_backward(branch, shortcut)
        return branch + shortcut

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        size, other = (added.abs() for added in ctx.saved_tensors)
        nothing = size + other < _NOTHING
        share = torch.where(nothing, 1.0, size / torch.where(nothing, 1.0, size + other))
        return relevance[0] * share, relevance[0] * (1 - share)


class _Masked(Function):
    """What a layer put out, with the relevance of some of its channels alone."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, kept: Tensor, note: Note) -> Tensor:
        ctx.note = note
        ctx.save_for_backward(kept)
        return left.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        (kept,), arrived = ctx.saved_tensors, relevance[0]
        going = arrived * kept.reshape(-1, *(1 for _ in arrived.shape[2:]))
        ctx.note(arrived.flatten(1).sum(1), going.flatten(1).sum(1))
        return going, None, None


def _by(rule: Any) -> Callable[..., Any]:
    return lambda layer, entered, left: _Ruled.apply(entered[0], left.detach(), layer, rule)


def _is_mean_of_timm(layer: nn.Module) -> bool:
    return type(layer).__name__ == "FastAdaptiveAvgPool"


def _pads_beyond(layer: nn.Module) -> bool:
    """Say whether some of what a convolution puts out sees nothing but padding."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) or isinstance(layer.padding, str):
        return False
    reaches = (step * (size - 1) for step, size in zip(layer.dilation, layer.kernel_size, strict=True))
    return any(padding > reach for padding, reach in zip(layer.padding, reaches, strict=True))


def _of_padding(layer: nn.Module, entered: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance of what sees nothing but padding, spread over all inputs, [B, ...] as these."""
    with _weights(torch.ones_like)(layer) as counting:
        blind = counting.forward(torch.ones_like(entered)) == 0
    lost = torch.where(blind, relevance, 0.0).flatten(1).sum(1)
    return (lost / entered[0].numel()).reshape(-1, *(1 for _ in entered.shape[1:])).expand_as(entered)


def _plus() -> Any:
    from zennit.core import BasicHook

    def shares(relevance: Tensor, total: list[Tensor]) -> list[Tensor]:
        contributed, evenly = _shares(relevance, total[0] + total[1], total[2])
        return [contributed, contributed, evenly]

    return BasicHook(
        input_modifiers=[lambda a: a.clamp(min=0), lambda a: a.clamp(max=0), torch.ones_like],
        param_modifiers=[
            _weights(lambda w: w.clamp(min=0)), _weights(lambda w: w.clamp(max=0)), _weights(torch.ones_like),
        ],
        gradient_mapper=shares,
        reducer=lambda a, gradient: a[0] * gradient[0] + a[1] * gradient[1] + gradient[2],
    )  # fmt: skip


def _epsilon() -> Any:
    from zennit.core import BasicHook

    return BasicHook(
        input_modifiers=[_same, torch.ones_like],
        param_modifiers=[_weights(_same), _weights(torch.ones_like)],
        gradient_mapper=lambda relevance, total: _shares(relevance, *total),
        reducer=lambda a, gradient: a[0] * gradient[0] + gradient[1],
    )


def _flat() -> Any:
    from zennit.core import BasicHook

    return BasicHook(
        input_modifiers=[torch.ones_like],
        param_modifiers=[_weights(torch.ones_like)],
        gradient_mapper=lambda relevance, total: _shares(relevance, total[0], torch.ones_like(relevance))[:1],
        reducer=lambda _, gradient: gradient[0],
    )


def _shares(relevance: Tensor, total: Tensor, inputs: Tensor) -> list[Tensor]:
    """Return relevance by contribution; and by input where nothing contributes, unless there is no input."""
    nothing, blind = total.abs() < _NOTHING, inputs == 0
    contributed = torch.where(nothing, 0.0, relevance / torch.where(nothing, 1.0, total))
    evenly = torch.where(nothing & ~blind, relevance / torch.where(blind, 1.0, inputs), 0.0)
    return [contributed, evenly]


def _weights(change: Callable[[Tensor], Tensor]) -> Any:
    """Return how zennit changes a layer's weights for a moment, without its bias."""
    from zennit.core import ParamMod

    return ParamMod(lambda weight, _: change(weight), zero_params=["bias"], require_params=False)


def _same(x: Tensor) -> Tensor:
    return x
