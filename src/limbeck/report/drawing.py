"""What all pages share: templates in which a user's words are words, colours, and drawings that work offline."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, select_autoescape
from plotly.offline import get_plotlyjs

from limbeck import files
from limbeck.errors import LimbeckError

# Okabe & Ito's that stand out from white by 3:1 and more, and two of Tol's: colour-blind readers tell them apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#882255", "#332288")
DASHES = ("solid", "dash", "dot", "dashdot")
# as many as have no common divisor with the colours, so that things of one colour have other symbols
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
MUTED = "#767676"
_INK, _GRID = "#1b2530", "#e3e7eb"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


class Exhibit(NamedTuple):
    """A drawing with its words and its numbers.

    Attributes:
        name: of its files, where it is written into some.
        title: above it.
        about: how to read it.
        drawing: it; what belongs to the i-th thing on the page, or of `labels`, has the legend group "i".
        rows: what it shows, as a table.
        numbers: every number of it, unscaled or as its columns say, a line each.
        labels: of what is in it, where that is not what is on the page.
    """

    name: str
    title: str
    about: str
    drawing: go.Figure
    rows: Sequence[Mapping[str, str]]
    numbers: Sequence[Mapping[str, Any]]
    labels: Sequence[str] = ()


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write a page from one of the templates beside this file."""
    loader = PackageLoader("limbeck.report", "")
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]))
    environment.globals["plotly_script"] = get_plotlyjs
    environment.filters["words"] = words
    files.write(path, environment.get_template(template).render(values))


def words(rows: Sequence[Mapping[str, str]]) -> set[str]:
    """Return the columns of a table that hold words, which are read from the left."""
    first = rows[0] if rows else {}
    columns = {name: [row[name] for row in rows if row.get(name, "–") not in {"", "–"}] for name in first}
    return {name for name, texts in columns.items() if texts and all(text[0].isalpha() for text in texts)}


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
    """Return the title and the HTML of each drawing; the page has the script for all, so that it works offline."""
    return [(drawing.layout.title.text, _html(drawing)) for drawing in drawings]


def shown(exhibits: Sequence[Exhibit]) -> list[dict[str, Any]]:
    """Return exhibits as the template takes them; the page's own legend stands in for plotly's."""
    found = []
    for one in exhibits:
        groups = {int(trace.legendgroup) for trace in one.drawing.data if (trace.legendgroup or "").isdecimal()}
        one.drawing.update_layout(showlegend=False)
        about = {"name": one.name, "title": one.title, "about": one.about, "rows": one.rows}
        own = legend(one.labels)
        found.append({**about, "groups": sorted(groups), "legend": own, "html": _html(one.drawing)})
    return found


def _html(drawing: go.Figure) -> str:
    # the page has the title: there it breaks into lines on a phone
    height = drawing.layout.height or 420
    style(drawing)
    left = 55 if drawing.layout.margin.l is None else drawing.layout.margin.l
    drawing.update_layout(title=None, height=height, margin={"l": left, "r": 15, "t": 36, "b": 50})
    # a finger that moves over a drawing moves the page
    drawing.update_layout(legend={"orientation": "h", "y": -0.2}, dragmode=False)
    unused = ["select2d", "lasso2d", "autoScale2d"]
    config = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": unused}
    return str(drawing.to_html(full_html=False, include_plotlyjs=False, config=config))


def style(drawing: go.Figure) -> None:
    """Give a drawing the look of the pages."""
    drawing.update_layout(template="plotly_white", font={"family": _FONT, "size": 13, "color": _INK})
    drawing.update_layout(hoverlabel={"namelength": 40, "font": {"size": 12}})
    for update in (drawing.update_xaxes, drawing.update_yaxes):
        update(gridcolor=_GRID, zerolinecolor=_GRID, automargin=True, title_font={"size": 13})


def line(index: int) -> dict[str, str]:
    """Return how the line of the index-th thing is drawn."""
    return {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index // len(COLOURS) % len(DASHES)]}


def symbol(index: int) -> str:
    """Return how the points of the index-th thing are drawn."""
    return SYMBOLS[index % len(SYMBOLS)]


def faint(index: int) -> str:
    """Return the colour of the index-th thing's band."""
    code = COLOURS[index % len(COLOURS)]
    return f"rgba({int(code[1:3], 16)},{int(code[3:5], 16)},{int(code[5:7], 16)},0.13)"


def legend(labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entries of a page's own legend: how the things with these labels are drawn."""
    dashes = {"solid": "none", "dash": "6 3", "dot": "2 3", "dashdot": "6 3 2 3"}
    return [
        {"label": label, "colour": line(i)["color"], "dashes": dashes[line(i)["dash"]], "symbol": symbol(i)}
        for i, label in enumerate(labels)
    ]


def plain(label: str) -> str:
    """Return a label that plotly shows as it is written: it would read <b> and links in it."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wrapped(label: str, width: int) -> str:
    """Return a label of several lines that plotly shows as it is written."""
    return "<br>".join(plain(part) for part in textwrap.wrap(label, width) or [""])
