"""The picture of likeness: how alike the layers of two networks, or of one, see the test images (linear CKA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.report.compare import FinishedRun
from limbeck.report.drawing import numbers_file, plain, sections, write_html
from limbeck.report.likeness import Cell, likeness, looks
from limbeck.report.networks import Halves, chosen, load_networks
from limbeck.report.students import path_of
from limbeck.train.progress import Display

# layers whose numbers are written into the cells
_WRITTEN = 25
ABOUT = (
    "Linear CKA by the unbiased HSIC, of the last weights: 1 where two layers see the images alike up to rotation and "
    "scale, about 0 where they have nothing in common. It is an estimate, so values a little below 0 or above 1 are "
    "what they should be, and shown as they are.",
    "Layers are the ends of stages and of the blocks in them, unless others were named; a map counts with all its "
    "places.",
)


def write_cka(
    runs: Sequence[Path],
    overrides: Sequence[str],
    paths: Sequence[str] | None,
    out: Path,
    display: Display,
    *,
    images: int,
    accelerator: str,
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Write the page and the numbers beside it, and return the rows of the tables: of layers, and of halves.

    Args:
        runs: one or two: RUN of one student, or RUN/student-1; tested on the same images.
        overrides: `data.key=value`, where the first run's data have moved.
        paths: layers; of two networks, each of at least one of them. None chooses some.
        out: where the page goes; its numbers go beside it, in a CSV file of the same name.
        display: shows how far it is.
        images: at most so many.
        accelerator: where to run.

    Raises:
        LimbeckError: no finished runs, several students and none is named, different test sets, no such layer, fewer
            than 4 images, a name that is no page's.
    """
    numbers = numbers_file(out)
    networks, seen = load_networks([_one(run) for run in runs], overrides, images, accelerator)
    looked = looks(networks, paths)
    parts, values = likeness(looked, seen, display)
    starts = [0]
    for one in looked:
        starts.append(starts[-1] + len(one.layers))
    cells = [[Cell(parts[i], parts[j], values[i][j]) for j in range(starts[-2], starts[-1])] for i in range(starts[1])]
    between = [Cell(parts[i], parts[i + 1], values[i][i + 1]) for i in range(starts[-1], len(parts), 2)]
    rows, halves = _rows(cells), _half_rows(between, [one.half for one in looked if one.half is not None])
    reasons = [f"Undefined: {part.name} of {part.network}: {part.undefined}." for part in parts if part.undefined]
    words: dict[str, Any] = {
        "title": "How alike layers are: linear CKA",
        "paragraphs": [*ABOUT, f"Test images: {len(seen.views)}.", *reasons],
    }
    drawn = sections([_drawing(cells, (networks[0].label, networks[-1].label))])
    write_html(out, "cka.html", drawings=drawn, rows=rows, halves=halves, **words)
    files.write(numbers, csv([cell for line in cells for cell in line] + between))
    return rows, halves


def _one(path: Path) -> FinishedRun:
    found = chosen(path)
    if len(found) > 1:
        raise LimbeckError(f"{path} has several students: name one of {', '.join(map(path_of, found))}")
    return found[0]


def _rows(cells: Sequence[Sequence[Cell]]) -> list[dict[str, str]]:
    """Return a row for each layer of the first network, with the layers of the other that are like it."""
    rows = []
    for line in cells:
        one = line[0].first
        alone = line[0].second.network == one.network
        row = {f"layer of {one.network}": one.name, "shape": "×".join(map(str, one.shape))}
        if not alone:
            same = [cell for cell in line if cell.second.name == one.name]
            row[f"CKA with the same of {line[0].second.network}"] = same[0].shown if same else "–"
        known = [cell for cell in line if not math.isnan(cell.value) and not (alone and cell.second.name == one.name)]
        best = max(known, key=lambda cell: cell.value, default=None)
        row["most alike other" if alone else "most alike there"] = "–" if best is None else best.second.name
        row["CKA"] = line[0].shown if best is None and one.undefined else "–" if best is None else best.shown
        rows.append(row)
    return rows


def _half_rows(between: Sequence[Cell], halves: Sequence[Halves]) -> list[dict[str, str]]:
    """Return a row for the two halves of each network."""
    return [
        {
            "network": cell.first.network,
            "layer": half.layer,
            "halves": " and ".join(half.names),
            "channels": " and ".join(str(len(channels)) for channels in half.channels),
            "CKA between them": cell.shown,
        }
        for cell, half in zip(between, halves, strict=True)
    ]


def csv(cells: Sequence[Cell]) -> str:
    """Return every pair, unrounded, a line each; an undefined one is empty, with the reason."""
    import pandas as pd

    lines = [
        {
            "network": cell.first.network,
            "layer": cell.first.name,
            "other_network": cell.second.network,
            "other_layer": cell.second.name,
            "cka": cell.value,
            "undefined": cell.reason,
        }
        for cell in cells
    ]
    return str(pd.DataFrame(lines).to_csv(index=False))


def _drawing(cells: Sequence[Sequence[Cell]], labels: tuple[str, str]) -> go.Figure:
    """Draw the heat map; what is undefined is grey and says so."""
    title = labels[0] if cells[0][0].first.network == cells[0][0].second.network else f"{labels[0]} and {labels[1]}"
    drawing = go.Figure(layout={"title": title, "height": 170 + max(36 * len(cells), 250)})
    values = [[None if math.isnan(cell.value) else cell.value for cell in line] for line in cells]
    known = [value for line in values for value in line if value is not None]
    names = {"x": [plain(cell.second.name) for cell in cells[0]], "y": [plain(line[0].first.name) for line in cells]}
    few = max(len(cells), len(cells[0])) <= _WRITTEN
    drawing.add_heatmap(
        **names, z=values, zmin=min([0.0, *known]), zmax=max([1.0, *known]), colorscale="Viridis", hoverongaps=False,
        texttemplate="%{z:.2f}" if few else None, textfont={"size": 10}, colorbar={"title": "CKA"},
        hovertemplate="%{y}<br>%{x}<br>CKA %{z:.4f}<extra></extra>",
    )  # fmt: skip
    if any(cell.reason for line in cells for cell in line):
        drawing.add_heatmap(
            **names, z=[[0 if cell.reason else None for cell in line] for line in cells], showscale=False,
            colorscale=[[0, "#dddddd"], [1, "#dddddd"]], hoverongaps=False,
            customdata=[[plain(cell.reason) for cell in line] for line in cells],
            # words for every cell: a fixed one would be written over the numbers of the others
            text=[["undefined" if cell.reason else "" for cell in line] for line in cells],
            texttemplate="%{text}", textfont={"size": 9},
            hovertemplate="%{y}<br>%{x}<br>undefined: %{customdata}<extra></extra>",
        )  # fmt: skip
    drawing.update_xaxes(title=plain(labels[1]), type="category")
    drawing.update_yaxes(title=plain(labels[0]), type="category")
    return drawing
