"""A search's report as Markdown, and its tables in a terminal. Figures are of the validation split, everywhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from limbeck.report.compare import markdown
from limbeck.report.text import print_rows
from limbeck.tuning.make import Outcome
from limbeck.tuning.record import Trial, libraries
from limbeck.tuning.results import STUDY, best_file, comparison, labels_alone
from limbeck.tuning.sampler import points
from limbeck.tuning.search import Search
from limbeck.tuning.space import written

SHOWN = 5


def print_search(outcome: Outcome) -> None:
    """Print the winners, and the best trials of each recipe."""
    by = outcome.prepared.by.name
    print_rows(winners_table(outcome), f"{by} on the validation split, last weights; the test set was not looked at")
    for search in outcome.prepared.searches:
        trials = outcome.trials[search.label]
        if len(trials) > 1:
            ranked = sorted(trials, key=lambda trial: (trial.figure is None, trial.figure, trial.number))
            few = f", the best {SHOWN} of {len(trials)}" if len(trials) > SHOWN else ", best first"
            print_rows(trials_table(outcome, search, ranked[:SHOWN]), f"Trials of {search.recipe}{few}")
        for text in notes_of(outcome, search):
            print(text)


def winners_table(outcome: Outcome) -> list[dict[str, str]]:
    """Return a row per recipe: its budget, what it reaches as written and at its best, and where."""
    rows = []
    for search in outcome.prepared.searches:
        trials, best = outcome.trials[search.label], outcome.best(search.label)
        first = outcome.as_written(search)
        rows.append(
            {
                "recipe": search.recipe,
                "trials": str(len(trials)),
                "failed": str(sum(trial.why is not None for trial in trials)),
                "as written": "–" if first is None else _figure(outcome, first),
                "best": "–" if best is None else _figure(outcome, best),
                "trial": "–" if best is None else str(best.number),
                "at": "–" if best is None else _values(best),
            }
        )
    return rows


def trials_table(outcome: Outcome, search: Search, trials: Sequence[Trial]) -> list[dict[str, str]]:
    """Return a row per trial."""
    best, first = outcome.best(search.label), outcome.as_written(search)
    rows = []
    for trial in trials:
        mark = ", ".join([*(["best"] if trial is best else []), *(["as written"] if trial is first else [])])
        rows.append(
            {
                "trial": f"{trial.number} ({mark})" if mark else str(trial.number),
                outcome.prepared.by.name: _figure(outcome, trial),
                **{key: written(trial.values[key]) for key in search.space},
            }
        )
    return rows


def _figure(outcome: Outcome, trial: Trial) -> str:
    return trial.state if trial.figure is None else outcome.prepared.by.show(trial.figure)


def _values(trial: Trial) -> str:
    return "  ".join(f"{key}={written(value)}" for key, value in trial.values.items()) or "as written"


def notes_of(outcome: Outcome, search: Search) -> list[str]:
    """Return what is to be known of a recipe's trials: of a budget that is not used up, and of failed ones."""
    trials, budget = outcome.trials[search.label], outcome.prepared.trials
    parts = []
    if not search.space:
        parts.append(
            f"{search.recipe} has no hyper-parameters of its own: one run, as written. Name fields that all recipes "
            "share, such as optimiser.lr=0.01..0.3:log, and it gets as many trials as the others"
        )
    elif len(trials) < budget and points(search.space) == len(trials):
        parts.append(f"the space of {search.recipe} has {len(trials)} points, and each was tried once")
    parts += [
        f"trial {trial.number} of {search.recipe} failed: {trial.why}" for trial in trials if trial.why is not None
    ]
    if outcome.best(search.label) is None:
        parts.append(f"{search.recipe} has no finished trial: the same command tries them again")
    return parts


def next_command(outcome: Outcome) -> str | None:
    """Return the command that compares the best recipes on fresh seeds; None where there is nothing to compare."""
    if not comparison(outcome):
        return None
    folder = outcome.prepared.folder
    return shlex.join(["limbeck", "study", str(folder / STUDY), "--out", str(folder / "compare")])


def cautions(outcome: Outcome) -> list[str]:
    """Say what the figures are, and what they do not tell."""
    prepared = outcome.prepared
    epochs = prepared.searches[0].planned({}).student.training.last_epoch
    each = f"{prepared.trials} trials" if prepared.trials > 1 else "1 trial"
    parts = [
        f"Budget: {each} of {epochs} epochs for every recipe, fewer where its space has no more points. Stages before "
        "the last are trained once, for all trials; they are no part of it, nor is what a method costs in a step.",
        f"Chosen by {prepared.by.name} on the validation split, of the last epoch's weights. The test set was not used "
        "in choosing, and none of its figures is in this report.",
        "The best of several trials looks better on the validation split than it is, the more so the more trials there "
        "are and the smaller the split is. All trials have the recipe's own seed. Whether the differences hold is "
        "asked on fresh seeds and on the test set, once: by the study below.",
    ]
    shared = sorted(
        {key for search in prepared.searches for key in search.space if key.split(".")[0] not in {"method", "matchers"}}
    )
    if shared and not any(labels_alone(search.stage) for search in prepared.searches):
        parts.append(
            f"The baseline of the study has {', '.join(shared)} as written, which was searched here for the others: "
            "search a recipe of labels alone along with them, or the baseline is at a disadvantage."
        )
    return parts


def report(outcome: Outcome) -> str:
    """Return the whole report as Markdown."""
    prepared = outcome.prepared
    parts = [f"# {prepared.name}", f"`{prepared.command}`"]
    parts += ["## What was found", f"{prepared.by.name} on the validation split.", markdown(winners_table(outcome))]
    parts += cautions(outcome)
    if (command := next_command(outcome)) is not None:
        parts += ["## Next", f"`{command}`"]
    for search in prepared.searches:
        parts += [f"## Trials of {search.recipe}", f"Space: {space_of(search)}"]
        parts += [markdown(trials_table(outcome, search, outcome.trials[search.label]))]
        parts += ["\n".join(f"- {text}." for text in notes_of(outcome, search))]
    parts += ["## How it was made", "\n".join(f"- {text}" for text in made_of(outcome))]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def space_of(search: Search) -> str:
    """Return what is searched of a recipe, in words."""
    return ", ".join(f"`{key}={axis}`" for key, axis in search.space.items()) or "nothing."


def made_of(outcome: Outcome) -> list[str]:
    """Return with what a search was made, a line each."""
    lines = ["proposed by optuna's TPE (multivariate), a fixed seed; the first trial is the recipe as written"]
    lines.append(", ".join(f"{name} {version}" for name, version in libraries().items()))
    lines.append(f"threads a run: {outcome.prepared.threads}")
    best = [best_file(outcome, s) for s in outcome.prepared.searches if outcome.best(s.label) is not None]
    return [*lines, f"best recipes: {', '.join(best) or 'none'}"]
