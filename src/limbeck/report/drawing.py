"""What all pages share: templates in which a user's words are words, colours, and drawings that work offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, select_autoescape

from limbeck import files
from limbeck.errors import LimbeckError

# Okabe & Ito's colours, told apart by colour-blind readers as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write a page from one of the templates beside this file."""
    loader = PackageLoader("limbeck.report", "")
    page = Environment(loader=loader, autoescape=select_autoescape(["html"])).get_template(template).render(values)
    files.write(path, page)


def numbers_file(page: Path) -> Path:
    """Return where the numbers of a page go.

    Raises:
        LimbeckError: the page has their name.
    """
    if page.suffix != ".html":
        raise LimbeckError(
            f"--out {page} is no page: give a name that ends in .html; its numbers go beside it, in .csv"
        )
    return page.with_suffix(".csv")


def sections(drawings: Sequence[go.Figure]) -> list[tuple[str, str]]:
    """Return the title and the HTML of each drawing; the first carries the script for all, so pages work offline."""
    return [(drawing.layout.title.text, _html(drawing, first=i == 0)) for i, drawing in enumerate(drawings)]


def _html(drawing: go.Figure, *, first: bool) -> str:
    # the page has the title: there it breaks into lines on a phone
    height = drawing.layout.height or 420
    margin = {"l": 60, "r": 20, "t": 30, "b": 50}
    drawing.update_layout(title=None, template="plotly_white", height=height, margin=margin)
    drawing.update_layout(legend={"orientation": "h", "y": -0.2})
    config = {"responsive": True, "displaylogo": False}
    return str(drawing.to_html(full_html=False, include_plotlyjs=first, config=config))


def line(index: int) -> dict[str, str]:
    """Return how the line of the index-th thing is drawn."""
    return {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index // len(COLOURS) % len(DASHES)]}


def plain(label: str) -> str:
    """Return a label that plotly shows as it is written: it would read <b> and links in it."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
