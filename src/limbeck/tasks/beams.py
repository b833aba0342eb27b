"""Beam search: the most probable translations that a network can be found to give, many sentences at a time.

A finished translation of n tokens, its end among them, has the score log p / n^α (α the length penalty: 0 prefers short
ones, 1 compares means). Each sentence keeps k beginnings and its k best finished translations, and is done when no
beginning can beat the worst of these any more. The whole beginning is decoded again at each token, for torch's layers
keep nothing from one token to the next: fine for sentences, slow for pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# log p of the next token [B, V], given beginnings [B, t] and for each the sentence that it translates [B]
Next = Callable[[Int[Tensor, "beams length"], Int[Tensor, " beams"]], Float[Tensor, "beams classes"]]


class Found(NamedTuple):
    """The k best translations of each sentence, the best first.

    Attributes:
        tokens: int64 [B, k, n], without the beginning, the end included; 0 behind.
        scores: float32 [B, k]; minus infinity where there are fewer.
    """

    tokens: Int[Tensor, "batch beams length"]
    scores: Float[Tensor, "batch beams"]


@torch.no_grad()
def search(
    ask: Next, most: Int[Tensor, " batch"], *, beams: int, penalty: float, begin: int, end: int, never: tuple[int, ...]
) -> Found:
    """Return the best translations that are found.

    Args:
        ask: log probabilities of the next token.
        most: the most tokens that each sentence's translation may have, with its end; it is ended there.
        beams: k.
        penalty: α.
        begin: token before the first.
        end: token that ends a translation.
        never: tokens that a translation never has.
    """
    device, batch, longest = most.device, len(most), int(most.max())
    sentence = torch.arange(batch, device=device)
    alive = torch.full((batch, beams, 1), begin, device=device)
    # all beams begin alike, so one of them counts
    logs = torch.full((batch, beams), -torch.inf, device=device)
    logs[:, 0] = 0.0
    done = Found(
        torch.zeros(batch, beams, longest, dtype=torch.long, device=device),
        torch.full((batch, beams), -torch.inf, device=device),
    )
    for length in range(1, longest + 1):
        said = ask(alive.flatten(0, 1), sentence.repeat_interleave(beams)).float()
        said[:, list(never)] = -torch.inf
        last = (most <= length)[:, None, None]
        said = said.view(batch, beams, -1)
        others = torch.arange(said.shape[2], device=device) != end
        said = said.masked_fill(last & others, -torch.inf)
        every = logs[:, :, None] + said
        top = every.flatten(1).topk(min(2 * beams, every[0].numel()), 1)
        parents, tokens = top.indices // said.shape[2], top.indices % said.shape[2]
        grown = torch.cat([alive.gather(1, parents[:, :, None].expand(-1, -1, length)), tokens[:, :, None]], 2)
        ended = tokens == end
        done = _kept(done, grown, torch.where(ended, top.values / length**penalty, -torch.inf), beams)
        logs, chosen = torch.where(ended, -torch.inf, top.values).topk(beams, 1)
        alive = grown.gather(1, chosen[:, :, None].expand(-1, -1, length + 1))
        # log p only falls, so a beginning's best hope is to end now, at the greatest length
        hope = logs[:, 0] / most.clamp_min(length + 1) ** penalty
        if bool((hope <= done.scores[:, -1]).all()):
            break
    return done


def _kept(done: Found, grown: Tensor, scores: Tensor, beams: int) -> Found:
    """Return the best of what was finished before and now."""
    fresh = done.tokens.new_zeros(*grown.shape[:2], done.tokens.shape[2])
    fresh[:, :, : grown.shape[2] - 1] = grown[:, :, 1:]
    best, chosen = torch.cat([done.scores, scores], 1).topk(beams, 1)
    tokens = torch.cat([done.tokens, fresh], 1)
    return Found(tokens.gather(1, chosen[:, :, None].expand(-1, -1, tokens.shape[2])), best)
