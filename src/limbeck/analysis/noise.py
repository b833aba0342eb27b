"""How many answers go wrong when noise is added to the images (KDCL, Guo et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

Network = Callable[[Tensor], Tensor]


@torch.no_grad()
def wrong_under_noise(
    groups: Sequence[Sequence[Network]],
    view: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, " batch"],
    noise: Callable[[int], Float[Tensor, "batch channels height width"]],
    draws: int,
    deviations: Sequence[float],
    std: Sequence[float],
) -> Int64[Tensor, "lines deviations draws"]:
    """Count the wrong answers to one batch of images x + d n, for each network, deviation d and draw n; no transfer.

    Every network gets the same noise, and the noise of a draw is the same for every d but for its size. Nothing is
    clipped.

    Args:
        groups: networks that belong together, each from images to logits; of a group of several, one more line counts
            the wrong answers of the mean of their probabilities.
        view: images, normalised.
        labels: in 0..K-1.
        noise: from the number of the draw to standard normal numbers.
        draws: how many.
        deviations: d, of images in [0, 1] before normalisation.
        std: per channel, what normalisation divides by.
    """
    lines = sum(len(group) + (len(group) > 1) for group in groups)
    wrong = torch.zeros(lines, len(deviations), draws, dtype=torch.int64, device=view.device)
    scale = torch.tensor(std, dtype=view.dtype, device=view.device)[:, None, None]
    noisy = [i for i, deviation in enumerate(deviations) if deviation > 0]
    # without noise all draws are the same
    for i in set(range(len(deviations))) - set(noisy):
        wrong[:, i] = _wrong(groups, view, labels)[:, None]
    for draw in range(draws if noisy else 0):
        added = noise(draw) / scale
        for i in noisy:
            wrong[:, i, draw] = _wrong(groups, view + deviations[i] * added, labels)
    return wrong


def _wrong(
    groups: Sequence[Sequence[Network]],
    view: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, " batch"],
) -> Int64[Tensor, " lines"]:
    counts = []
    # Apple's devices have no float64
    wide = torch.float32 if view.device.type == "mps" else torch.float64
    for group in groups:
        logits = [network(view) for network in group]
        counts += [(answer.argmax(1) != labels).sum() for answer in logits]
        if len(group) > 1:
            together = torch.stack([answer.to(wide).softmax(1) for answer in logits]).mean(0)
            counts.append((together.argmax(1) != labels).sum())
    return torch.stack(counts)
