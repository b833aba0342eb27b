"""`limbeck ensemble RUN RUN... [vs RUN...]`: finished networks together, and how differently they err."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.compare import Which
from limbeck.errors import LimbeckError

AGAINST = "vs"


def ensemble(
    runs: Annotated[
        list[str],
        typer.Argument(
            help=f"run folders, folders of run folders, or RUN/student-1; after the word {AGAINST} those of a second "
            "ensemble to compare with"
        ),
    ],
    sequence: Annotated[
        bool, typer.Option("--sequence", help="take with each run those that taught it, as they taught")
    ] = False,
    which: Annotated[
        Which, typer.Option(help="of the runs named: the last weights, or the best on the validation split")
    ] = Which.last,
    out: Annotated[Path, typer.Option(help="where the page goes, its numbers beside it in .csv")] = Path(
        "ensemble.html"
    ),
) -> None:
    """Average the probabilities of finished networks on the test set, and say how differently they err."""
    if runs.count(AGAINST) > 1 or AGAINST in (runs[0], runs[-1]):
        raise LimbeckError(f"write RUN RUN … {AGAINST} RUN RUN …: one ensemble before the word, and one behind it")
    at = runs.index(AGAINST) if AGAINST in runs else len(runs)

    from limbeck.report.ensemble import join, members_of, write_ensembles
    from limbeck.report.text import print_rows

    parts = {"ensemble": runs[:at]} if at == len(runs) else {"first": runs[:at], "second": runs[at + 1 :]}
    groups = [
        join(name, members_of([Path(run) for run in named], sequence, which.value)) for name, named in parts.items()
    ]
    figures, measures = write_ensembles(groups, out)
    print_rows(figures, "Test set: each network, and the mean of their probabilities")
    print_rows(measures, "How differently they err")
    print(f"written: {out}, {out.with_suffix('.csv')}")
