"""How much of a layer is in use: directions to which the loss responds, and channels that are ever active.

IE-KD counts "active neurons"; how, its code does not show. Most likely it is the active subspace of Cui et al. (Active
Subspace of Neural Networks, 2020): with g the gradient of one example's loss by the layer's output and λ₁ ≥ λ₂ ≥ ...
the eigenvalues of E[g gᵀ], the dimension is

    min { r : λ₁ + ... + λ_r ≥ (1 - ε) Σ λ_i }

It counts directions in the space of the flattened output, so it may exceed the number of channels; but never the number
of examples, so compare layers by equally many, and many.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from limbeck.errors import LimbeckError

# eigenvalues carry rounding errors of this size, which must not cost a dimension
_ROUNDING = 1e-12


@torch.no_grad()
def active_subspace_dimension(gradients: Float[Tensor, "examples size"], epsilon: float = 0.05) -> int:
    """Return how many directions hold all but a share of the gradients' energy, in float64.

    Args:
        gradients: of each example's own loss by the layer's output, flattened, [n, d]. The mean loss of a batch of b
            gives them divided by b, which changes nothing. They are not centred.
        epsilon: the share of Σ λ that may be left out, in [0, 1).

    Returns:
        A number in 0..min(n, d); 0 if and only if every gradient is 0.

    Raises:
        LimbeckError: no gradients, some that are not finite, or an epsilon out of range.
    """
    if not 0 <= epsilon < 1:
        raise LimbeckError(f"epsilon is {epsilon} but must lie in [0, 1)")
    if gradients.numel() == 0:
        raise LimbeckError(f"gradients have shape {list(gradients.shape)}: pass at least one")
    # MPS has no float64
    gradients = (gradients.cpu() if gradients.device.type == "mps" else gradients).double()
    largest = gradients.abs().max()
    if not torch.isfinite(largest):
        raise LimbeckError("gradients hold NaN or infinity: every one must be finite")
    if largest == 0:
        return 0
    # scaled, for the squares of gradients as small as these may vanish
    energy = torch.linalg.svdvals(gradients / largest).square().cumsum(0)
    return 1 + int((energy[:-1] < (1 - epsilon - _ROUNDING) * energy[-1]).sum())


class ActiveChannels:
    """Which channels were active for any example, at any place, over all batches so far.

    Attributes:
        threshold: a channel is active where it is larger than this.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self._mask: Tensor | None = None

    @torch.no_grad()
    def update(self, features: Float[Tensor, "batch channels ..."]) -> None:
        """Add a batch of features [B, C] or [B, C, H, W], after the ReLU; waits for nothing on a GPU.

        Raises:
            LimbeckError: another number of channels than before.
        """
        active = (features > self.threshold).transpose(0, 1).flatten(1).any(1)
        if self._mask is None:
            self._mask = torch.zeros_like(active)
        if active.shape != self._mask.shape:
            raise LimbeckError(f"features have {len(active)} channels, but those before had {len(self._mask)}")
        self._mask |= active

    def mask(self) -> Bool[Tensor, " channels"]:
        """Return which channels were active.

        Raises:
            LimbeckError: there was no batch.
        """
        if self._mask is None:
            raise LimbeckError("no features were counted yet: call update first")
        return self._mask.clone()

    def count(self) -> int:
        """Return how many channels were active; as `mask` otherwise."""
        return int(self.mask().sum())
