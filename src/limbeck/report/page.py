"""One self-contained HTML page of a run or a comparison: the table, and how sure, how right, how fast each group is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from limbeck.report.compare import Group, Which, paired_table, read_runs
from limbeck.report.compare import group as grouped
from limbeck.report.cost import costs
from limbeck.report.curves import curves
from limbeck.report.drawing import Exhibit, legend, shown, write_html
from limbeck.report.summary import better, reference_notes, results_table
from limbeck.report.text import TESTED, TESTS, split_of

# of a run, as limbeck analyze calls and writes them
PICTURES = (
    "rescaling",
    "softening",
    "confusion",
    "confidence",
    "cka",
    "active",
    "relevance",
    "noise",
    "spread",
    "boxes",
)
_SCRIPT = re.compile(r'<script id="plotly">.*?</script>', re.DOTALL)
# a picture inside the page takes the page's own copy of the drawing script, which is large
_BORROWED = "document.write('<script>' + parent.document.getElementById('plotly').textContent + '<\\/script>');"


def write_report(run: Path, which: Which) -> None:
    """Write the report.html of a run, with every picture that is in its folder."""
    found = [run / f"{name}.html" for name in PICTURES if (run / f"{name}.html").exists()]
    write_page(grouped(read_runs([run])), which, run / "report.html", run.resolve().name, found)


def renew_report(run: Path) -> bool:
    """Write a run's report again, of the weights that it is of, after a picture has come into its folder.

    Returns:
        False where there is no report yet.
    """
    path = run / "report.html"
    if not path.exists():
        return False
    best = '<meta name="weights" content="best">' in path.read_text()
    write_report(run, "best" if best else "last")
    return True


def write_page(groups: Sequence[Group], which: Which, path: Path, title: str, pictures: Sequence[Path] = ()) -> None:
    """Write the page of a comparison, or of one run (a group of one), with other pages shown within it."""
    write_html(
        path,
        "page.html",
        title=title,
        which=which,
        split=split_of(groups),
        rows=results_table(groups, which),
        better=better(groups, which),
        notes=reference_notes(groups),
        paired=paired_table(groups, which, TESTED),
        tests=TESTS,
        exhibits=shown(exhibits(groups, which)),
        legend=legend([group.label for group in groups]),
        pictures=[(picture.stem, _within(picture.read_text())) for picture in pictures],
        runs=[run for group in groups for run in group.runs.values()],
    )


def exhibits(groups: Sequence[Group], which: Which) -> list[Exhibit]:
    """Return what is drawn of groups.

    Raises:
        LimbeckError: a run's predictions are missing or damaged.
    """
    return [*costs(groups, which), *curves(groups, which)]


def _within(page: str) -> str:
    return _SCRIPT.sub(lambda _: f"<script>{_BORROWED}</script>", page)
