"""The picture of use: in how many directions the loss responds to a layer, and how many channels are ever active."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck import files
from limbeck.analysis.active import ActiveChannels, active_subspace_dimension
from limbeck.analysis.gradients import gradients_at
from limbeck.errors import LimbeckError
from limbeck.report.drawing import COLOURS, numbers_file, plain, sections, write_html
from limbeck.report.networks import Halves, Images, Network, chosen, halves_of, load_networks
from limbeck.train.progress import Display

# images whose forward pass is kept for its gradient
_BATCH = 64
ABOUT = (
    "Directions: the dimension of the active subspace. The gradient of each image's cross-entropy by what the layer "
    "puts out, flattened, is a vector; the directions are the fewest that hold all but a share ε of these vectors' "
    "energy. They cannot exceed the number of images, so compare networks by equally many.",
    "Nor can they exceed the number of classes less one where only a mean over places and one linear layer follow, as "
    "behind the last stage of most networks: the gradient then is a mix of that layer's weights. An earlier layer has "
    "no such bound.",
    "Active channels: those that are above 0 anywhere on any of the images, which says something after a ReLU only.",
    "A layer is looked at as a whole, and in two parts of its channels: those that inherit and those that explore "
    "where a run has such a split, else the first and the second half. Last weights.",
)
PARTS = ("whole", "inheriting, or first half", "exploring, or second half")


class Measured(NamedTuple):
    """A layer of a network, or a part of its channels.

    Attributes:
        network: RUN, or RUN/student-1.
        label: its name in pictures.
        layer: which one.
        part: "whole", "inheriting" and so on.
        channels: how many.
        size: numbers that they put out for one image.
        directions: the dimension of the active subspace.
        active: channels that were ever active.
    """

    network: str
    label: str
    layer: str
    part: str
    channels: int
    size: int
    directions: int
    active: int


def write_active(
    runs: Sequence[Path],
    overrides: Sequence[str],
    layer: str | None,
    out: Path,
    display: Display,
    *,
    images: int,
    epsilon: float,
    accelerator: str,
) -> list[dict[str, str]]:
    """Write the page and the numbers beside it, and return the rows of the table.

    Args:
        runs: RUN for all of its students, or RUN/student-1; tested on the same images.
        overrides: `data.key=value`, where the first run's data have moved.
        layer: of every network; None is that of its split, or the end of its last stage.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.
        display: shows how far it is.
        images: at most so many.
        epsilon: the share of the energy that may be left out, in [0, 1).
        accelerator: where to run.

    Raises:
        LimbeckError: no finished runs, different test sets, no such layer or one that puts out no map, a network
            without stages, an epsilon out of range, a name that is no page's.
    """
    numbers = numbers_file(out)
    if not 0 <= epsilon < 1:
        raise LimbeckError(f"--epsilon is {epsilon} but must lie in [0, 1)")
    networks, seen = load_networks([one for run in runs for one in chosen(run)], overrides, images, accelerator)
    halves = [_halves(network, layer) for network in networks]
    found: list[Measured] = []
    with display.run("active", len(networks), unit="network"):
        for i, (network, half) in enumerate(zip(networks, halves, strict=True)):
            found += measure(network, half, seen, epsilon)
            display.advance(i + 1, {})
    rows = [_row(one) for one in found]
    words: dict[str, Any] = {
        "title": "How much of a layer is in use",
        "paragraphs": [*ABOUT, f"Test images: {len(seen.views)}; ε {epsilon:g}."],
    }
    write_html(out, "analysis.html", drawings=sections(_drawings(found)), rows=rows, **words)
    files.write(numbers, csv(found, len(seen.views), epsilon))
    return rows


def measure(network: Network, halves: Halves, images: Images, epsilon: float) -> list[Measured]:
    """Return what there is of a layer and of its two parts; a part without channels is left out."""
    gradients, mask = _heard(network, halves.layer, images)
    shape = network.layers[halves.layer].shape
    device = gradients.device
    parts = [("whole", torch.arange(shape[0])), *zip(halves.names, halves.channels, strict=True)]
    return [
        Measured(
            network.path,
            network.label,
            halves.layer,
            name,
            len(channels),
            len(channels) * shape[1] * shape[2],
            active_subspace_dimension(gradients[:, channels.to(device)].flatten(1), epsilon),
            int(mask[channels.to(device)].sum()),
        )
        for name, channels in parts
        if len(channels)
    ]


def _heard(
    network: Network, layer: str, images: Images
) -> tuple[Float[Tensor, "images channels height width"], Int[Tensor, " channels"]]:
    """Return the gradients of all images, and which channels were ever active."""
    gradients, active = [], ActiveChannels()
    for views, labels in images.batches(_BATCH):
        at = gradients_at(network.net, layer, network.layers, network.teacher.normalised(views), labels)
        gradients.append(at.gradients)
        active.update(at.features)
    return torch.cat(gradients), active.mask().int()


def _halves(network: Network, layer: str | None) -> Halves:
    halves = halves_of(network, layer)
    if halves is None:
        raise LimbeckError(f"{network.path} has no stages, as it puts out no maps: there is no layer to look at")
    return halves


def _row(one: Measured) -> dict[str, str]:
    """Return what was measured as printed."""
    return {
        "network": one.label,
        "layer": one.layer,
        "part": one.part,
        "numbers an image": str(one.size),
        "directions": str(one.directions),
        "active channels": f"{one.active} of {one.channels}",
    }


def csv(found: Sequence[Measured], images: int, epsilon: float) -> str:
    """Return what was measured, a line each."""
    import pandas as pd

    columns = [name for name in Measured._fields if name != "label"]
    table = pd.DataFrame([one._asdict() for one in found], columns=columns)
    return str(table.assign(images=images, epsilon=epsilon).to_csv(index=False))


def _drawings(found: Sequence[Measured]) -> list[go.Figure]:
    """Draw directions and active channels, three bars for each network."""
    drawings = []
    for key, title in (("directions", "Directions to which the loss responds"), ("active", "Channels ever active")):
        drawing = go.Figure(layout={"title": title, "barmode": "group"})
        for i, series in enumerate(PARTS):
            bars = [one for one in found if one.part in series.replace("or ", "").split(", ")]
            drawing.add_bar(
                x=[plain(one.label) for one in bars],
                y=[getattr(one, key) for one in bars],
                text=[getattr(one, key) for one in bars],
                customdata=[[one.layer, one.part] for one in bars],
                hovertemplate="%{x}<br>%{customdata[0]}, %{customdata[1]}: %{y}<extra></extra>",
                name=series,
                marker={"color": COLOURS[i]},
            )
        drawing.update_xaxes(type="category")
        drawing.update_yaxes(title="directions" if key == "directions" else "channels", rangemode="tozero")
        drawings.append(drawing)
    return drawings
