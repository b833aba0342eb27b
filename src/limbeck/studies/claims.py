"""Claims: a small grammar over figures of cells, read by hand and never executed.

    claim     = side ("<" | ">") side
    side      = [sign] term { sign term }
    term      = number ["%"] [ "*" figure ] | figure
    figure    = [ "best:" | "last:" ] [ student ":" ] name "(" selection ")"
    selection = ( cell | axis "=" value ) { "," ( cell | axis "=" value ) }

A selection that leaves axes open is the mean over the cells that it fits. So both sides are linear in the cells'
figures, and a claim says that one linear form, left minus right, is below (or above) zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from limbeck.errors import LimbeckError, nearest
from limbeck.metrics.figures import ALL
from limbeck.studies.cells import Cell
from limbeck.studies.study import Stated

NAMES = (*(figure.key for figure in ALL), "scaled_nll", "scaled_ece")

# from 0 to 1
SHARES = {figure.key for figure in ALL if figure.scale >= 100} | {"scaled_ece"}

_PIECE = re.compile(
    r"""\s*(?:
        (?P<figure>(?:[A-Za-z][\w-]*:)*[A-Za-z]\w*\s*\([^()]*\))
      | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*%?)
      | (?P<sign>[-+−])
      | (?P<times>[*×])
      | (?P<compare><=|>=|==|=|≤|≥|<|>)
    )\s*""",
    re.VERBOSE,
)


class Figure(NamedTuple):
    """A figure of one cell's runs.

    Attributes:
        metric: its key in results.json.
        which: of the last weights, or of the best on the validation split.
        student: which of several; None for the only one.
        cell: the cell's name.
    """

    metric: str
    which: Literal["last", "best"]
    student: str | None
    cell: str


class Claim(NamedTuple):
    """A claim as numbers: Σ weight · figure + constant is below zero (or above).

    Attributes:
        text: as it was written.
        source: who says so.
        says: it in words.
        weights: of each figure, the left side minus the right.
        constant: the numbers of the left side minus those of the right.
        sign: -1 for "<", 1 for ">".
    """

    text: str
    source: str | None
    says: str | None
    weights: dict[Figure, float]
    constant: float
    sign: Literal[-1, 1]

    @property
    def metrics(self) -> list[str]:
        """The names of its figures, each once."""
        return list(dict.fromkeys(figure.metric for figure in self.weights))


def read_claim(stated: Stated, cells: Sequence[Cell], where: str) -> Claim:
    """Return a claim over cells of a study.

    Raises:
        LimbeckError: it cannot be read; a figure, cell, axis or value that is not there (the nearest is suggested); a
            cell has several students and none is named; both sides are the same; a number
            decides it alone.
    """
    try:
        return _read(stated, cells)
    except LimbeckError as error:
        raise LimbeckError(f"{where}: claim {stated.claim!r}: {error}") from error


def _read(stated: Stated, cells: Sequence[Cell]) -> Claim:
    pieces = _pieces(stated.claim)
    compares = [i for i, (kind, _) in enumerate(pieces) if kind == "compare"]
    if len(compares) != 1 or pieces[compares[0]][1] not in {"<", ">"}:
        raise LimbeckError("write one comparison, < or >, such as error(a) < error(b)")
    at = compares[0]
    left, right = _side(pieces[:at], cells), _side(pieces[at + 1 :], cells)
    weights: dict[Figure, float] = dict(left[0])
    for figure, weight in right[0].items():
        weights[figure] = weights.get(figure, 0.0) - weight
    weights = {figure: weight for figure, weight in weights.items() if abs(weight) > 1e-12}
    if not weights:
        raise LimbeckError("both sides are the same, or without any figure")
    _refuse_foregone(weights, left[1] - right[1])
    sign: Literal[-1, 1] = -1 if pieces[at][1] == "<" else 1
    return Claim(stated.claim, stated.source, stated.says, weights, left[1] - right[1], sign)


def _refuse_foregone(weights: dict[Figure, float], constant: float) -> None:
    """Refuse a number so large beside shares, which are from 0 to 1, that no run can make a difference."""
    if any(figure.metric not in SHARES for figure in weights):
        return
    most, least = (sum(weight for weight in weights.values() if sign * weight > 0) for sign in (1, -1))
    if (constant > 0 and constant >= -least) or (constant < 0 and constant <= -most):
        raise LimbeckError(
            f"the number {abs(constant):g} decides it whatever the runs give, for these figures are from 0 to 1: "
            "write points with %, half a point as 0.5%"
        )


def _pieces(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while place < len(text):
        piece = _PIECE.match(text, place)
        if piece is None:
            raise LimbeckError(f"cannot read {text[place:].strip()!r}; write such as error(a) < error(b) - 0.5%")
        found.append((str(piece.lastgroup), piece[str(piece.lastgroup)]))
        place = piece.end()
    return found


def _side(pieces: Sequence[tuple[str, str]], cells: Sequence[Cell]) -> tuple[dict[Figure, float], float]:
    """Return one side's weights and constant."""
    weights: dict[Figure, float] = {}
    constant, rest, first = 0.0, list(pieces), True
    if not rest:
        raise LimbeckError("a side of the comparison is empty")
    while rest:
        factor = 1.0
        if rest[0][0] == "sign":
            factor = 1.0 if rest.pop(0)[1] == "+" else -1.0
        elif not first:
            raise LimbeckError(f"a + or - is missing before {rest[0][1]!r}")
        first = False
        kind, word = rest.pop(0) if rest else ("end", "")
        if kind == "number":
            number = float(word.rstrip("% \t")) * (0.01 if word.endswith("%") else 1.0)
            if not math.isfinite(number):
                raise LimbeckError(f"{word!r} is no finite number")
            if not rest or rest[0][0] != "times":
                constant += factor * number
                continue
            factor *= number
            rest.pop(0)
            kind, word = rest.pop(0) if rest else ("end", "")
        if kind != "figure":
            raise LimbeckError(f"a figure such as error(a) is missing before {word!r}" if word else "it ends too early")
        for figure, weight in _figures(word, cells).items():
            weights[figure] = weights.get(figure, 0.0) + factor * weight
    return weights, constant


def _figures(word: str, cells: Sequence[Cell]) -> dict[Figure, float]:
    """Return the weights of what one figure stands for: the mean over the cells that it selects."""
    head, _, selection = word.rstrip(") ").partition("(")
    *before, metric = head.strip().split(":")
    which: Literal["last", "best"] = "best" if before[:1] == ["best"] else "last"
    students = before[1:] if before[:1] in (["best"], ["last"]) else before
    if len(students) > 1:
        raise LimbeckError(f"{word!r}: write best:, then one student:, then the figure")
    if metric not in NAMES:
        raise LimbeckError(f"there is no figure {metric!r}{nearest(metric, NAMES)}")
    chosen = select(selection, cells)
    student = students[0] if students and students[0] != "student" else None
    for cell in chosen:
        _check(cell, metric, which, student)
    return {Figure(metric, which, student, cell.name): 1 / len(chosen) for cell in chosen}


def _check(cell: Cell, metric: str, which: str, student: str | None) -> None:
    """Refuse what a cell's runs will not have."""
    stage = next(iter(cell.plans.values())).student
    several = len(stage.networks)
    names = ["student"] if several == 1 else [*(f"student-{i}" for i in range(several)), "ensemble"]
    if student is None and several > 1:
        raise LimbeckError(f"the cell {cell.name!r} has several students: say which, such as student-0:{metric}(...)")
    if student is not None and student not in names:
        raise LimbeckError(f"the cell {cell.name!r} has no {student!r}{nearest(student, names)}")
    if (which == "best" or metric.startswith("scaled_")) and not stage.data.validated:
        raise LimbeckError(f"the cell {cell.name!r} has no validation split for {which}:{metric}: set data.validation")


def select(selection: str, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that a selection fits, such as "pskd, alpha=0.3".

    Raises:
        LimbeckError: none does; the nearest name is suggested.
    """
    chosen = list(cells)
    kinds = [cell.kind or cell.name for cell in cells if cell.kind is not None or not cell.at]
    values: dict[str, list[str]] = {}
    for cell in cells:
        for axis, value in cell.at.items():
            values.setdefault(axis, []).append(value)
    every = [*kinds, *(f"{axis}={value}" for axis, known in values.items() for value in known)]
    for item in selection.split(","):
        axis, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            if axis not in kinds:
                meant = [name for name in every if name.partition("=")[2] == axis]
                if meant:
                    raise LimbeckError(f"there is no cell {axis!r}; did you mean {meant[0]!r}?")
                raise LimbeckError(f"there is no cell {axis!r}{nearest(axis, set(every))}")
            chosen = [cell for cell in chosen if axis in {cell.kind, cell.name}]
            continue
        if axis not in values:
            raise LimbeckError(f"there is no axis {axis!r}{nearest(axis, values)}")
        value = _meant(value, values[axis])
        if value not in values[axis]:
            known = list(dict.fromkeys(values[axis]))
            hint = nearest(value, known) if _number(value) is None else f"; there are: {', '.join(known)}"
            raise LimbeckError(f"there is no {axis}={value}{hint}")
        chosen = [cell for cell in chosen if cell.at.get(axis) == value]
    if not chosen:
        raise LimbeckError(f"no cell is all of {selection.strip()!r}; there are: {', '.join(c.name for c in cells)}")
    return chosen


def _meant(value: str, known: Sequence[str]) -> str:
    """Return the known value that is the same number, where it is written otherwise (0.10 for 0.1)."""
    return next((other for other in known if _number(other) is not None and _number(other) == _number(value)), value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
