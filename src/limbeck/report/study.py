"""A study's report as Markdown, and its tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.metrics.figures import Figure
from limbeck.plain import evaluated_on
from limbeck.report.compare import COLUMNS, markdown
from limbeck.report.summary import printed
from limbeck.report.text import print_rows
from limbeck.studies.cells import Cell
from limbeck.studies.claims import Claim
from limbeck.studies.claims import Figure as CellFigure
from limbeck.studies.outcome import Judged, Outcome
from limbeck.studies.writing import more_seeds, versions

OVER_EXAMPLES = (
    "The trained networks are held fixed, and the test examples are what is drawn: would another test set of this size "
    "say the same of these networks? Bootstrap of 5,000 resamples of examples, averaged over the seeds; McNemar's "
    "exact test seed by seed. Not corrected for their number."
)
BY_KEY = {column.key: column for column in COLUMNS}


def print_outcome(outcome: Outcome) -> None:
    """Print figures, verdicts and failures."""
    print_rows(cells_table(outcome, "last"), f"{split_of(outcome)}, last weights: {spread_of(outcome)}")
    if outcome.judged:
        print_rows(verdicts_table(outcome.judged), f"Claims: {tests_of(outcome)}")
    for one in outcome.judged:
        if one.verdict.why:
            print(f"{one.claim.text}: {one.verdict.why}")
    for run, why in outcome.failures.items():
        print(f"failed: {run}: {why}")


def cells_table(outcome: Outcome, which: str) -> list[dict[str, str]]:
    """Return a row per cell and student: n, and mean ± half the 95 % interval of each figure, as printed."""
    rows = []
    for cell in outcome.cells:
        for student in _students(outcome, cell, which):
            row = {"cell": cell.name if student == "student" else f"{cell.name}, {student}"}
            row["n"] = str(len(outcome.runs[cell.name]))
            for column in COLUMNS:
                values = outcome.values(CellFigure(column.key, which, student, cell.name))  # type: ignore[arg-type]
                if values:
                    row[column.name] = printed(list(values.values()), column)
            rows.append(row)
    head = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "–") for name in head} for row in rows]


def _students(outcome: Outcome, cell: Cell, which: str) -> list[str]:
    return list(
        dict.fromkeys(
            student
            for made in outcome.runs[cell.name].values()
            for student, kinds in made.students.items()
            if which in kinds
        )
    )


def verdicts_table(judged: Sequence[Judged]) -> list[dict[str, str]]:
    """Return a row per claim, as printed."""
    return [
        {
            "claim": one.claim.text,
            "verdict": one.verdict.decision,
            "left − right": _shown(one, difference_of(one)),
            "95 % interval": _range(one, one.verdict.measured),
            "effect d_z": "–" if one.verdict.measured is None else f"{one.verdict.measured.effect:+.2f}",
            "p": "–" if one.verdict.measured is None else _p(one.verdict.measured.p),
            "p, Holm": "–" if one.verdict.corrected is None else _p(one.verdict.corrected),
            "more seeds": str(more_seeds(one.verdict) or "–"),
        }
        for one in judged
    ]


def difference_of(one: Judged) -> float | None:
    """Return a claim's left side minus its right, unscaled; None where runs are missing."""
    measured = one.verdict.measured
    return measured.mean if measured is not None else next(iter(one.differences.values()), None)


def column_of(one: Judged) -> Figure:
    """Return how numbers of a claim are printed: as its figure, where it has one only."""
    metrics = one.claim.metrics
    return BY_KEY[metrics[0]] if len(metrics) == 1 else Figure("", "", 1, lower_is_better=True, digits=4)


def _shown(one: Judged, value: float | None) -> str:
    column = column_of(one)
    if value is None:
        return "–"
    text = f"{value * column.scale:+.{column.digits}f}"
    return f"{text} {column.name}" if column.name else text


def _range(one: Judged, between: object) -> str:
    low, high = getattr(between, "low", None), getattr(between, "high", None)
    if low is None or high is None:
        return "–"
    column = column_of(one)
    return f"{low * column.scale:+.{column.digits}f} … {high * column.scale:+.{column.digits}f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def examples_table(outcome: Outcome) -> list[dict[str, str]]:
    """Return a row per claim that the test examples say something of."""
    rows = []
    for one in outcome.judged:
        if one.examples is None:
            continue
        tests = [
            f"seed {seed}: {test.first}/{test.second}, p {_p(test.p)}" for seed, test in one.examples.mcnemar.items()
        ]
        rows.append(
            {
                "claim": one.claim.text,
                "95 % interval over examples": _range(one, one.examples),
                "McNemar (only first wrong/only second wrong)": "; ".join(tests) or "–",
            }
        )
    return rows


def report(outcome: Outcome) -> str:
    """Return the whole report as Markdown."""
    study = outcome.study
    parts = [f"# {outcome.name}", progress_of(outcome), study.description, f"`{outcome.command}`"]
    if outcome.judged:
        parts += ["## Claims", markdown(verdicts_table(outcome.judged)).strip(), explained(outcome)]
        parts += ["\n".join(f"- `{claim}`: {note}." for claim, note in notes_of(outcome.judged)), *cautions(outcome)]
    for which in ("last", "best"):
        if rows := cells_table(outcome, which):
            parts += [
                f"## Figures, {which} weights",
                f"{split_of(outcome)}: {spread_of(outcome)}.",
                markdown(rows).strip(),
            ]
    if rows := examples_table(outcome):
        parts += [
            "## Over the test examples",
            OVER_EXAMPLES,
            markdown(rows).strip(),
        ]
    if outcome.failures:
        parts += ["## Failed runs", "\n".join(f"- `{run}`: {why}" for run, why in outcome.failures.items())]
    parts += ["## How it was made", "\n".join(f"- {line}" for line in made_of(outcome))]
    return "\n\n".join(part for part in parts if part) + "\n"


def progress_of(outcome: Outcome) -> str:
    """Say how much of a study there is; nothing where all its runs have ended."""
    planned, failed = len(outcome.cells) * len(outcome.study.seeds), len(outcome.failures)
    finished = sum(map(len, outcome.runs.values()))
    if (left := planned - finished - failed) == 0:
        return ""
    parts = [f"{finished} of {planned} runs are finished", *([f"{failed} failed"] if failed else [])]
    return (
        f"{', '.join(parts)}, {left} {'is' if left == 1 else 'are'} still to be made. While the study runs, this is "
        "written again as runs end. What is decided here stays decided: it is corrected for all claims, also for those "
        "that wait for runs."
    )


def split_of(outcome: Outcome) -> str:
    """Return what the figures of a study are of, as a heading says it."""
    plans = [plan for cell in outcome.cells for plan in cell.plans.values()]
    return evaluated_on({"data": {"evaluate": plan.student.data.evaluated}} for plan in plans)


def spread_of(outcome: Outcome) -> str:
    """Say what stands behind the ± of a study's figures."""
    return f"mean ± half the 95 % interval over n seeds ({', '.join(map(str, outcome.study.seeds))})"


def tests_of(outcome: Outcome) -> str:
    """Say how a study's claims are tested."""
    paired = "paired t-tests over seeds" if outcome.study.pairing == "seed" else "Welch's t-tests over seeds"
    return f"{paired}, two-sided, Holm's correction, decided at {outcome.study.significance:g}"


def explained(outcome: Outcome) -> str:
    """Say how the table of verdicts is to be read."""
    unpaired = " (not paired: in units of the pooled spread of its figures)" if outcome.study.pairing == "none" else ""
    tests = tests_of(outcome)
    return (
        f"{tests[0].upper()}{tests[1:]}. Left − right is the claim's left side minus its right; "
        "the interval is of one claim alone, not corrected. d_z is the mean difference in units of its standard "
        f"deviation over seeds{unpaired}. More seeds: how many further ones would decide the claim with "
        f"{outcome.study.power:.0%} power, if the true effect were the observed one."
    )


def notes_of(judged: Sequence[Judged]) -> list[tuple[str, str]]:
    """Return what stands behind single claims: the claim, and what there is to say of it."""
    notes = [(one.claim.text, one.verdict.why) for one in judged if one.verdict.why]
    return notes + [(one.claim.text, said) for one in judged if (said := _said(one.claim))]


def _said(claim: Claim) -> str:
    """Return what a claim says in words, and who claims it."""
    source = f"claimed by {claim.source}" if claim.source else ""
    return f"{claim.says} ({source})" if claim.says and source else claim.says or source


def cautions(outcome: Outcome) -> list[str]:
    """Say what an undecided claim means, and what one seed cannot tell."""
    parts = []
    undecided = [one for one in outcome.judged if one.verdict.decision == "undecided" and one.verdict.measured]
    if undecided:
        parts.append(
            f"Undecided is no evidence of equality: {len(undecided)} of {len(outcome.judged)} claims may be true, "
            f"false, or too small to matter, and {len(outcome.study.seeds)} seeds do not tell; the intervals say which "
            "differences are still possible. The number of further seeds is reckoned from an effect that is itself "
            "uncertain, so take it as an order of magnitude. Fix the number of seeds before looking: adding seeds "
            "until a claim is decided makes false decisions more likely than the level says."
        )
    if len(outcome.study.seeds) < 2:
        parts.append("With one seed there is no spread to compare with, and nothing can be said of other seeds.")
    return parts


def made_of(outcome: Outcome) -> list[str]:
    """Return with what a study's runs were made, a line each."""
    made = [one for by_seed in outcome.runs.values() for one in by_seed.values()]
    lines = ["verdicts: " + ", ".join(f"{name} {version}" for name, version in versions().items())]
    lines.append(f"seeds: {', '.join(map(str, outcome.study.seeds))}; finished runs: {len(made)}")
    for label, key in (("devices", "device"), ("threads a run", "threads")):
        found = sorted({str(one.environment.get(key)) for one in made})
        lines.append(f"{label}: {', '.join(found) or 'none'}" + (" (mixed!)" if len(found) > 1 else ""))
    trained = sorted({", ".join(f"{k} {v}" for k, v in one.environment.get("versions", {}).items()) for one in made})
    lines += [f"trained with: {one}" for one in trained]
    for what in ("teacher", "backbone"):
        if named := sorted({str(one.environment[what]) for one in made if one.environment.get(what)}):
            lines.append(f"{what}s: {', '.join(named)}")
    return lines
