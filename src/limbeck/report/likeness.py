"""How alike the layers of networks see the test images, and the two halves of a layer: measured batch by batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from limbeck.analysis.wide import wide_cka
from limbeck.core.layers import Layer, block_ends
from limbeck.core.taps import Tap, Taps
from limbeck.errors import LimbeckError, nearest
from limbeck.report.networks import Halves, Images, Network, halves_of
from limbeck.train.progress import Display

# of float32 features that are kept at once: 1 GB
_KEPT_NUMBERS = 2**28
# images in a batch: its blocks of kernels take 8 b² bytes for each layer
_BATCH = 500


class Look(NamedTuple):
    """What is looked at of a network.

    Attributes:
        network: whose layers.
        layers: these.
        half: and this one's two halves; None where it puts out no maps.
    """

    network: Network
    layers: list[Layer]
    half: Halves | None

    @property
    def paths(self) -> list[str]:
        """The layers to hear, each once."""
        return list(dict.fromkeys([*(layer.path for layer in self.layers), *([self.half.layer] if self.half else [])]))


class Part(NamedTuple):
    """What is compared: a layer of a network, or some of its channels.

    Attributes:
        network: whose, by its path.
        name: of the layer; of a half, with its name behind it.
        shape: of the layer for one image.
        undefined: why it has no CKA with anything; empty where it has.
    """

    network: str
    name: str
    shape: tuple[int, ...]
    undefined: str = ""


class Cell(NamedTuple):
    """The CKA of two parts."""

    first: Part
    second: Part
    value: float

    @property
    def shown(self) -> str:
        """The value as printed."""
        return "undefined" if math.isnan(self.value) else f"{self.value:.4f}"

    @property
    def reason(self) -> str:
        """Why it is undefined; empty where it is not."""
        one = self.first if self.first.undefined else self.second
        return f"{one.name} of {one.network}: {one.undefined}" if one.undefined else ""


def looks(networks: Sequence[Network], paths: Sequence[str] | None) -> list[Look]:
    """Return what to look at: the layers that are named, or else the ends of stages and blocks.

    Args:
        networks: whose layers.
        paths: each of at least one of the networks.

    Raises:
        LimbeckError: no such layer (the nearest is named), one that runs several times, a network without any.
    """
    known = set().union(*(network.layers for network in networks))
    for path in paths or ():
        if path not in known:
            whose = " or ".join(dict.fromkeys(network.path for network in networks))
            hint = nearest(path, known, see=f"limbeck list layers {networks[0].path}")
            raise LimbeckError(f"--layers: there is no layer {path!r} in {whose} that puts out a tensor{hint}")
    found = []
    for network in networks:
        layers = block_ends(network.layers)
        if paths is not None:
            layers = [network.layers[path] for path in paths if path in network.layers]
        if not layers:
            problem = "has no stages, as it puts out no maps: name layers by --layers"
            if paths is not None:
                problem = f"has none of the layers {', '.join(paths)}: name some of its own as well"
            raise LimbeckError(f"{network.path} {problem}")
        for layer in layers:
            if layer.runs > 1:
                raise LimbeckError(
                    f"--layers: {layer.path!r} of {network.path} runs {layer.runs} times in a forward pass, and which "
                    f"one is meant is not clear; limbeck list layers {network.path} says which run once"
                )
        found.append(Look(network, layers, halves_of(network)))
    return found


def likeness(looked: Sequence[Look], images: Images, display: Display) -> tuple[list[Part], list[list[float]]]:
    """Return what is compared, and the CKA of each with each: first the layers of all networks, then their halves.

    Args:
        looked: the networks, which read the same images.
        images: at least 4.
        display: shows how far it is.
    """
    widths = [math.prod(one.network.layers[path].shape) for one in looked for path in one.paths]
    count = len(images.views)
    size = max(1, min(_BATCH, _KEPT_NUMBERS // (2 * sum(widths))))
    batches = -(-count // size)
    keep = sum(widths) * count <= _KEPT_NUMBERS
    listening = [Taps(one.network.net, [Tap(path) for path in one.paths], one.network.layers) for one in looked]
    done = 0

    def features(i: int) -> list[Tensor]:
        nonlocal done
        view = images.batch(i * size, size).views
        heard = [_heard(one.network, taps, view) for one, taps in zip(looked, listening, strict=True)]
        done += 1
        display.advance(done, {})
        pairs = list(zip(looked, heard, strict=True))
        flat = [outputs[layer.path].flatten(1) for one, outputs in pairs for layer in one.layers]
        return flat + [
            outputs[one.half.layer][:, channels.to(view.device)].flatten(1)
            for one, outputs in pairs
            if one.half is not None
            for channels in one.half.channels
        ]

    try:
        with display.run("cka", batches if keep else batches * (batches + 1) // 2, unit="step"):
            alike = wide_cka(batches, functools.cache(features) if keep else features)
    finally:
        for taps in listening:
            taps.close()
    matrix: list[list[float]] = alike.cka.tolist()
    parts = [
        part._replace(undefined=_reason(part, cancelled, count)) if math.isnan(matrix[i][i]) else part
        for i, (part, cancelled) in enumerate(zip(_parts(looked), alike.size.tolist(), strict=True))
    ]
    return parts, matrix


def _parts(looked: Sequence[Look]) -> list[Part]:
    """Return what is compared, in the order of the matrix."""
    found = [Part(one.network.path, layer.path, layer.shape) for one in looked for layer in one.layers]
    for network, _, half in looked:
        if half is not None:
            places = network.layers[half.layer].shape[1:]
            for name, channels in zip(half.names, half.channels, strict=True):
                found.append(Part(network.path, f"{half.layer}, {name}", (len(channels), *places)))
    return found


def _heard(network: Network, taps: Taps, view: Tensor) -> dict[str, Tensor]:
    with taps.listening():
        network.teacher(view)
    (found,) = taps.take()
    return {tap.path: heard.kept for tap, heard in found.items()}


def _reason(part: Part, size: float, images: int) -> str:
    if 0 in part.shape:
        return "it has no channels"
    if size == 0:
        return f"its features are the same for all {images} images"
    if not math.isfinite(size):
        return "its features are not all finite"
    return f"its HSIC with itself is not above 0, for which {images} images are too few or differ all alike"
