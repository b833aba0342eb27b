"""Relevance maps: which pixels a class's logit comes from, by layer-wise relevance propagation.

Bach et al.: On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation, PLOS
ONE 2015; which rule stands where is in `limbeck.analysis.relevance_rules`. IE-KD (Huang et al., CVPR 2021) shows such
maps, but no source says by which rules.

A map is never handed out unchecked. The canonical copy must answer as the network does; nothing may happen between
images and logits that no rule covers; and the relevance of the pixels must sum up to the logit. Each alone would let
wrong maps pass: a mean that is taken by a function, not by a layer, conserves relevance and destroys the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias, get_args

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from limbeck.analysis.canonize import answer, canonize, double
from limbeck.analysis.relevance_rules import Composite, attach, mask, unseen
from limbeck.errors import LimbeckError, nearest

Through: TypeAlias = tuple[str, Sequence[int] | Int[Tensor, " kept"]]

# gaps of sound maps are some 1e-12 of the logit; logits nearer to 0 than the floor are measured by the floor
TOLERANCE = 1e-4
FLOOR = 1e-2
_SHOWN = 6


def relevance(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    classes: Int[Tensor, " batch"],
    composite: Composite = "epsilon_plus_flat",
    *,
    through: Through | None = None,
    batch_size: int = 16,
) -> Float[Tensor, "batch channels height width"]:
    """Return for each image how much each pixel and channel of it contributes to the logit of a class.

    A map sums up to the logit; negative parts speak against the class. Everything is computed in float64 on a copy, so
    that the network stays as it is, and its mode does not matter.

    Args:
        network: logits from images. What happens between these must happen in layers of types that are known: this
            package's own, torch's, and some blocks of torchvision's and timm's.
        images: as it reads them.
        classes: whose logit, for each image.
        composite: the rules; "epsilon_plus" is without the flat rule for the first layer.
        through: a layer by its dotted path, and channels of what it puts out: only the relevance of these goes on down,
            and a map sums up to that. The maps of disjoint parts add up to the whole map.
        batch_size: images at once.

    Raises:
        LimbeckError: zennit is missing; classes, layer or channels that there are not; an architecture through which
            relevance cannot be followed, by name of what is in the way, or relevance that is not conserved.
    """
    require_zennit()
    if composite not in get_args(Composite):
        raise LimbeckError(f"there is no composite {composite!r}{nearest(composite, get_args(Composite))}")
    if not len(images) or len(images) != len(classes):
        raise LimbeckError(f"{len(images)} images and {len(classes)} classes: give each image its class, one at least")
    # Apple's devices have no float64
    device = torch.device("cpu") if images.device.type == "mps" else images.device
    twin = double(network, device)
    views = images.detach().to(device, torch.float64)
    parts = torch.arange(len(views), device=device).chunk(-(-len(views) // batch_size))
    with torch.no_grad():
        logits = torch.cat([answer(twin, views[part]) for part in parts])
    wanted = classes.to(device).long()
    if not 0 <= int(wanted.min()) <= int(wanted.max()) < logits.shape[1]:
        raise LimbeckError(f"classes must lie in 0..{logits.shape[1] - 1}, as the network has {logits.shape[1]} logits")
    canonical = canonize(twin, views[:1])
    attach(canonical, composite)
    gate = None if through is None else _Gate(canonical.network, *through)
    found = [_maps(canonical.network, views[part], wanted[part], logits[part], gate) for part in parts]
    return torch.cat(found).to(images)


def require_zennit() -> None:
    """Check that the library of the rules is there.

    Raises:
        LimbeckError: it is not.
    """
    if find_spec("zennit") is None:
        raise LimbeckError("relevance maps need zennit, which is not installed: pip install 'limbeck[relevance]'")


class _Gate:
    """A layer of which some channels alone hand on relevance: what arrived there, and what went on."""

    def __init__(self, network: nn.Module, path: str, channels: Sequence[int] | Tensor) -> None:
        layers = dict(network.named_modules())
        if path not in layers or not path:
            raise LimbeckError(f"the network has no layer {path!r}{nearest(path, layers)}")
        self.path, self.channels = path, torch.as_tensor(channels, dtype=torch.int64).flatten().cpu()
        self.arrived: list[Tensor] = []
        self.going: list[Tensor] = []
        self._runs = 0
        layers[path].register_forward_hook(self._mask)

    def begin(self) -> None:
        """Forget the batch before."""
        self.arrived, self.going, self._runs = [], [], 0

    def kept(self, total: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        """Return how much relevance of each image goes on, of the total that should have arrived."""
        if self._runs != 1 or not self.arrived:
            raise LimbeckError(f"layer {self.path!r} runs {self._runs} times on the way to the logits, not once")
        image = _worst(self.arrived[0], total)
        if image is not None:
            raise LimbeckError(
                f"of image {image}'s relevance {float(total[image]):.4g}, {float(self.arrived[0][image]):.4g} arrives "
                f"at layer {self.path!r}, the rest passes it by: choose one that all goes through, such as a stage"
            )
        return self.going[0]

    def _mask(self, layer: nn.Module, entered: Any, left: Any) -> Tensor:
        self._runs += 1
        if not isinstance(left, Tensor) or left.ndim < 2:
            raise LimbeckError(
                f"layer {self.path!r} puts out no tensor [batch, channels, ...]; choose a layer inside it"
            )
        found = left.shape[1]
        if not len(self.channels) or int(self.channels.min()) < 0 or int(self.channels.max()) >= found:
            raise LimbeckError(f"layer {self.path!r} has the channels 0..{found - 1}: choose among them, one at least")
        kept = torch.zeros(found, dtype=torch.bool).index_fill(0, self.channels, True)
        return mask(left, kept.to(left.device), self._note)

    def _note(self, arrived: Tensor, going: Tensor) -> None:
        self.arrived.append(arrived)
        self.going.append(going)


def _maps(
    network: nn.Module,
    images: Float64[Tensor, "batch channels height width"],
    classes: Int[Tensor, " batch"],
    logits: Float64[Tensor, "batch classes"],
    gate: _Gate | None,
) -> Float64[Tensor, "batch channels height width"]:
    """Return the maps of one batch, of which the network itself says these logits."""
    if gate is not None:
        gate.begin()
    images = images.clone().requires_grad_(True)
    with torch.enable_grad():
        said = answer(network, images)
    total = logits.gather(1, classes[:, None])
    start = torch.zeros_like(logits).scatter(1, classes[:, None], total)
    (maps,) = torch.autograd.grad(said, images, start, allow_unused=True, materialize_grads=True)
    sums, expected, hidden = maps.flatten(1).sum(1), total[:, 0], unseen(said)
    difference = (said - logits).abs().max()
    if not hidden and not difference <= TOLERANCE * logits.abs().max().clamp(min=FLOOR):
        raise LimbeckError(
            "relevance cannot be followed: with its batch norms merged and its additions as layers the network's "
            f"logits differ by {float(difference):.3g}, so it does something else with these than is known"
        )
    if gate is not None and not hidden:
        expected = gate.kept(expected)
    image = _worst(sums, expected)
    if hidden or image is not None:
        at = image or 0
        gap, names = float((sums[at] - expected[at]).abs()), ", ".join(hidden[:_SHOWN])
        reason = f"the rules do not see some operations of this architecture ({names})" if hidden else "no rule fits"
        raise LimbeckError(
            f"relevance cannot be followed: image {at}'s map sums up to {float(sums[at]):.4g} for a logit of "
            f"{float(expected[at]):.4g}, a gap of {gap:.2g}; {reason}: functional pooling, in-place additions, "
            "products and the like must be layers"
        )
    return maps


def _worst(sums: Float64[Tensor, " batch"], expected: Float64[Tensor, " batch"]) -> int | None:
    """Return the image whose relevance is conserved worst, if it is not conserved well enough."""
    gaps = ((sums - expected).abs() / expected.abs().clamp(min=FLOOR)).nan_to_num(torch.inf)
    return int(gaps.argmax()) if gaps.max() > TOLERANCE else None
