"""Tables as CSV and LaTeX, figures as SVG and PNG, for papers."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.report.compare import Group, Which, paired_table
from limbeck.report.drawing import Exhibit, style, wrapped
from limbeck.report.summary import results_numbers, results_table
from limbeck.report.text import TESTED

FORMATS = ("svg", "png")
_WIDTH, _HEIGHT, _SHARPNESS = 800, 500, 2
# of a name in a legend in a line
_LETTERS = 30
_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "↳": r"$\hookrightarrow$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
}


class Table(NamedTuple):
    """A table to be written.

    Attributes:
        name: of its files.
        rows: as printed; the first one's keys are the head.
        numbers: for the CSV file, unscaled; the printed rows where there are none.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    numbers: Sequence[Mapping[str, Any]] = ()


def tex(text: str) -> str:
    """Return a text such that LaTeX prints what is written, on one line; what T1 fonts lack becomes a question mark."""
    whole = "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))
    return re.sub(r"[^\x20-\x7e\u00a1-\u017f]", "?", whole)


def latex(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as a LaTeX tabular with the rules of the package booktabs, for the font encoding T1."""
    head = list(dict.fromkeys(name for row in rows for name in row))
    lines = [head, *([row.get(name, "–") for name in head] for row in rows)]
    written = [" & ".join(map(tex, line)) + r" \\" for line in lines]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            written[0],
            r"\midrule",
            *written[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def write_tables(tables: Sequence[Table], exhibits: Sequence[Exhibit], folder: Path) -> list[str]:
    """Write each table as .csv and .tex, and the numbers of each figure as .csv; return the files' names.

    Raises:
        LimbeckError: a file cannot be written.
    """
    import pandas as pd

    written = []
    for table in (table for table in tables if table.rows):
        files.write(folder / f"{table.name}.csv", str(pd.DataFrame(table.numbers or table.rows).to_csv(index=False)))
        files.write(folder / f"{table.name}.tex", latex(table.rows))
        written += [f"{table.name}.csv", f"{table.name}.tex"]
    for one in exhibits:
        if one.numbers and one.name not in {table.name for table in tables}:
            files.write(folder / f"{one.name}.csv", str(pd.DataFrame(one.numbers).to_csv(index=False)))
            written.append(f"{one.name}.csv")
    return written


def check_figures() -> None:
    """Check that figures can be drawn into files, before anything long begins.

    Raises:
        LimbeckError: says what is missing.
    """
    try:
        import kaleido  # noqa: F401
        from choreographer.browsers.chromium import Chromium
    except ImportError as error:
        raise LimbeckError("figures as files need Kaleido: pip install 'limbeck[figures]'") from error
    if not Chromium.find_browser(skip_local=False):
        raise LimbeckError(
            "figures as files are drawn by Chrome or Chromium, and none was found: install one, or name it in the "
            "environment variable BROWSER_PATH"
        )


def write_figures(exhibits: Sequence[Exhibit], folder: Path) -> list[str]:
    """Write each drawing as .svg and .png, and return the files' names. Nothing is fetched from the network.

    Raises:
        LimbeckError: Kaleido or a browser is missing, or the browser fails; a file cannot be written.
    """
    check_figures()
    import kaleido
    from kaleido.errors import BrowserFailedError, ChromeNotFoundError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LimbeckError(f"cannot write into {folder}: {error.strerror}") from error
    written = [f"{one.name}.{form}" for one in exhibits for form in FORMATS]
    orders = [
        {"fig": for_paper(one), "path": folder / f"{one.name}.{form}", "opts": _options(one, form)}
        for one in exhibits
        for form in FORMATS
    ]
    try:
        kaleido.write_fig_from_object_sync(orders, kopts={"mathjax": False})
    except (BrowserFailedError, ChromeNotFoundError) as error:
        raise LimbeckError("the browser that draws figures does not start: name another in BROWSER_PATH") from error
    return written


def comparison_tables(groups: Sequence[Group], which: Which) -> list[Table]:
    """Return the tables of groups of finished runs."""
    results = Table("results", results_table(groups, which), results_numbers(groups, which))
    return [results, Table("paired", paired_table(groups, which, TESTED))]


def export(
    tables: Sequence[Table], exhibits: Sequence[Exhibit], tables_folder: Path | None, figures_folder: Path | None
) -> None:
    """Write tables, figures or both, and print what was written.

    Raises:
        LimbeckError: as `write_tables` and `write_figures`.
    """
    if tables_folder is not None:
        print(f"written into {tables_folder}: {', '.join(write_tables(tables, exhibits, tables_folder))}")
    if figures_folder is not None:
        print(f"written into {figures_folder}: {', '.join(write_figures(exhibits, figures_folder))}")


def for_paper(one: Exhibit) -> go.Figure:
    """Return a drawing with title and legend in it, as no page stands around it."""
    drawing = go.Figure(one.drawing)
    style(drawing)
    for trace in drawing.data:
        trace.name = wrapped(html.unescape(trace.name or ""), _LETTERS)
    several = sum(trace.showlegend is not False and bool(trace.name) for trace in drawing.data) > 1
    drawing.update_layout(
        title={"text": one.title, "font": {"size": 16}},
        showlegend=several,
        legend={"orientation": "v", "x": 1.02, "y": 1, "font": {"size": 11}},
        margin={"l": 60, "r": 20, "t": 50, "b": 55},
    )
    return drawing


def _options(one: Exhibit, form: str) -> dict[str, Any]:
    height = one.drawing.layout.height or _HEIGHT
    return {"format": form, "width": _WIDTH, "height": height, "scale": _SHARPNESS if form == "png" else 1}
