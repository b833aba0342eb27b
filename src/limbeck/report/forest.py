"""The forest plot of a study: each claim's difference with its interval, coloured by the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from limbeck.report.drawing import COLOURS, MUTED, Exhibit, wrapped
from limbeck.report.study import column_of, difference_of, verdicts_table
from limbeck.studies.outcome import Judged
from limbeck.studies.writing import verdict_row

# by verdict: colour and symbol, so that neither is needed to read the other
LOOKS = {
    "supported": (COLOURS[0], "circle"),
    "contradicted": (COLOURS[1], "x"),
    "undecided": (MUTED, "circle-open"),
}
_ROW, _HEAD = 34, 62
# letters of a claim in a line, such that a phone shows it
_LETTERS = 44
_CLAIMED = "rgba(0,114,178,0.08)"


class _Bar(NamedTuple):
    """A claim as the plot has it, in the unit in which its figure is printed.

    Attributes:
        judged: it.
        mean: left side minus right.
        low: end of the 95 % interval; of one seed there is none, and it is the mean.
        high: its other end.
        lines: that its text takes.
    """

    judged: Judged
    mean: float
    low: float
    high: float
    lines: int


def forest(judged: Sequence[Judged]) -> Exhibit | None:
    """Return the forest plot of claims, a panel per unit; None where no claim has a number."""
    panels: dict[str, list[_Bar]] = {}
    for one in judged:
        if (bar := _bar(one)) is not None:
            panels.setdefault(column_of(one).name or "as the claim has it", []).append(bar)
    if not panels:
        return None
    heights = [_HEAD + sum(_height(bar) for bar in bars) for bars in panels.values()]
    drawing = make_subplots(len(panels), 1, row_heights=heights, vertical_spacing=_HEAD / (sum(heights) + _HEAD))
    for row, (unit, bars) in enumerate(panels.items(), 1):
        _panel(drawing, row, unit, bars)
    drawing.update_layout(height=sum(heights) + 60, margin={"l": 12})
    about = (
        "Left side minus right side of each claim: mean over seeds with its 95 % interval, not corrected for the "
        "number of claims. The shaded side of zero is the claimed one. The verdict is by the corrected test, so an "
        "interval that just misses zero may still be undecided."
    )
    numbers: list[dict[str, Any]] = [verdict_row(one) for one in judged]
    return Exhibit("claims", "Claims: how large the differences are", about, drawing, verdicts_table(judged), numbers)


def _bar(one: Judged) -> _Bar | None:
    mean = difference_of(one)
    if mean is None:
        return None
    measured, scale = one.verdict.measured, column_of(one).scale
    low, high = (mean, mean) if measured is None else (measured.low, measured.high)
    lines = wrapped(one.claim.text, _LETTERS).count("<br>") + 1
    return _Bar(one, scale * mean, scale * low, scale * high, lines)


def _height(bar: _Bar) -> int:
    return _ROW + 15 * bar.lines


def _panel(drawing: go.Figure, row: int, unit: str, bars: Sequence[_Bar]) -> None:
    """Draw the claims of one unit: from the top, each with its text above its interval."""
    ends = [0.0, *(end for bar in bars for end in (bar.low, bar.high))]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    left, right = min(ends) - room, max(ends) + room
    total = sum(map(_height, bars))
    top = float(total)
    for bar in bars:
        bottom = top - _height(bar)
        at = bottom + _ROW / 2
        decision = bar.judged.verdict.decision
        colour, symbol = LOOKS[decision]
        side = left if bar.judged.claim.sign < 0 else right
        drawing.add_shape(
            type="rect", x0=0, x1=side, y0=bottom + 5, y1=bottom + _ROW - 3, fillcolor=_CLAIMED, line_width=0,
            layer="below", row=row, col=1,
        )  # fmt: skip
        drawing.add_annotation(
            text=wrapped(bar.judged.claim.text, _LETTERS), x=0, xref="x domain" if row == 1 else f"x{row} domain",
            y=bottom + _ROW - 4, yref="y" if row == 1 else f"y{row}", xanchor="left", yanchor="bottom", align="left",
            showarrow=False, font={"size": 12}, bgcolor="rgba(255,255,255,0.8)",
        )  # fmt: skip
        drawing.add_scatter(
            x=[bar.mean], y=[at], mode="markers", name=decision, marker={"color": colour, "symbol": symbol, "size": 11},
            error_x={
                "type": "data", "symmetric": False, "array": [bar.high - bar.mean], "arrayminus": [bar.mean - bar.low],
                "color": colour, "thickness": 2, "width": 5,
            },
            hovertemplate=f"{decision}: {bar.mean:+.4g} [{bar.low:+.4g}, {bar.high:+.4g}]", showlegend=False,
            row=row, col=1,
        )  # fmt: skip
        top = bottom
    drawing.add_shape(type="line", x0=0, x1=0, y0=0, y1=total, line={"color": "#1b2530", "width": 1}, row=row, col=1)
    drawing.update_xaxes(range=[left, right], title={"text": f"difference, {unit}", "standoff": 4}, row=row, col=1)
    drawing.update_yaxes(range=[0, total], visible=False, row=row, col=1)
