"""The gradient of each example's own loss by what a layer puts out, for all examples of a batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from limbeck.core.batch import Output
from limbeck.core.layers import Layers
from limbeck.core.taps import Tap, Taps
from limbeck.errors import LimbeckError


class AtLayer(NamedTuple):
    """What a layer puts out for each example, and how its loss depends on it.

    Attributes:
        features: of the layer.
        gradients: of each example's own cross-entropy by its own features, of the same shape.
    """

    features: Float[Tensor, "batch ..."]
    gradients: Float[Tensor, "batch ..."]


def gradients_at(
    network: nn.Module,
    path: str,
    layers: Layers,
    view: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, " batch"],
) -> AtLayer:
    """Return a layer's features and the gradient of each example's loss by them.

    In eval mode no example's answer depends on another, so the gradient of the sum of the losses is that of each one's
    own. Weights need not require a gradient and get none.

    Args:
        network: logits [B, K] or an `Output` from images; in eval mode.
        path: of the layer.
        layers: what `limbeck.core.layers.probe` found of the network.
        view: the images, normalised as the network reads them.
        labels: their classes.

    Raises:
        LimbeckError: the layer did not run in the forward pass, or nothing of it reaches the logits.
    """
    tap = Tap(path)
    taps = Taps(network, [tap], layers)
    try:
        with torch.enable_grad(), taps.listening():
            # what asks for a gradient by the image has one by every layer
            answer = network(view.detach().requires_grad_())
            logits = answer.logits if isinstance(answer, Output) else answer
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            (found,) = taps.take()
            (gradients,) = torch.autograd.grad(loss, found[tap].kept, allow_unused=True)
    finally:
        taps.close()
    if gradients is None:
        raise LimbeckError(f"no logit depends on layer {path!r}: take one that they are computed from")
    return AtLayer(found[tap].kept.detach(), gradients)
