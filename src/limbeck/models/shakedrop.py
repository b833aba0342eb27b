"""Random scaling of residual branches, another one on the way back.

Yamada, Iwamura, Akiba, Kise: ShakeDrop regularization for deep residual learning, IEEE Access 2019, equation 6.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class ShakeDrop(nn.Module):
    """With probability `drop`, multiply a batch by alpha, and the gradient that comes back by beta.

    One coin per call decides for the whole batch; alpha, uniform in [-1, 1], and beta, uniform in [0, 1], are
    drawn for every example. In evaluation the branch is multiplied by its expectation, 1 - `drop`. All draws come
    from torch's global generator, on the branch's device: nothing waits for them.

    Args:
        drop: probability, in [0, 1].
    """

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.drop = drop

    def forward(
        self, branch: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the branch, scaled."""
        if not self.training:
            return branch * (1 - self.drop)
        kept = torch.rand((), device=branch.device) >= self.drop
        one_each = (len(branch), 1, 1, 1)
        alpha = torch.where(kept, 1.0, branch.new_empty(one_each).uniform_(-1, 1))
        beta = torch.where(kept, 1.0, branch.new_empty(one_each).uniform_(0, 1))
        # forward the two terms add up to alpha * branch; backward only the first one is there
        return branch * beta + branch.detach() * (alpha - beta)

    def extra_repr(self) -> str:
        """Return what `print(network)` shows."""
        return f"drop={self.drop}"
