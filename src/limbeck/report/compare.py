"""Finished runs side by side: grouped by recipe up to the seed, mean ± standard deviation, paired against the first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck import files
from limbeck.errors import LimbeckError
from limbeck.metrics.figures import ALL, Figure
from limbeck.plain import CODER_FILE, flat, last_stage, whole_recipe_of

Which = Literal["last", "best"]

COLUMNS = (
    *ALL,
    Figure("scaled_nll", "NLL, T-scaled", 1, lower_is_better=True, digits=3),
    Figure("scaled_ece", "ECE %, T-scaled", 100, lower_is_better=True, digits=2),
)
_SILENT = {"seed", "data.workers", "training.checkpoint_steps", "training.trace"}


@dataclass(frozen=True)
class FinishedRun:
    """One student of a run's folder.

    Attributes:
        folder: where it is.
        student: "student", or "student-0" and so on.
        recipe: the resolved recipe.
        environment: versions, device, identity and group.
        results: figures by "last" and "best", unscaled.
        cost: "parameters" of the network, "epochs" trained, "seconds" of the last session; where they are known.
        reference: of its recipe, as its recipe.yaml has it.
    """

    folder: Path
    student: str
    recipe: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, dict[str, float]]
    cost: dict[str, float] = field(default_factory=dict)
    reference: Any = None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.recipe["seed"])


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed only.

    Attributes:
        label: what tells this group from the others.
        runs: by seed.
    """

    label: str
    runs: dict[int, FinishedRun]

    def values(self, key: str, which: Which) -> dict[int, float]:
        """Return a figure by seed, where it was measured."""
        found = {seed: run.results.get(which, {}).get(key) for seed, run in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True)
class Paired:
    """A group against the first, seed by seed.

    Attributes:
        mean: of the differences, group minus first, unscaled.
        half_width: of the 95 % confidence interval (Student's t).
        p: two-sided p-value of the paired t-test; NaN when all differences are equal and there is nothing to test.
        pairs: how many seeds both have.
    """

    mean: float
    half_width: float
    p: float
    pairs: int


def read_runs(folders: Iterable[Path]) -> list[FinishedRun]:
    """Return the finished runs in these folders: each a run's own folder, or one that holds run folders.

    Coders, which are stages as well, are passed over.

    Raises:
        LimbeckError: a folder is missing, or holds no finished run, or is of a coder.
    """
    runs: list[FinishedRun] = []
    for folder in folders:
        if not folder.is_dir():
            raise LimbeckError(f"there is no run folder {folder}")
        if (folder / CODER_FILE).exists():
            raise LimbeckError(f"{folder} is of a coder, which classifies nothing: name runs of students or teachers")
        places = [folder] if (folder / "recipe.yaml").exists() else sorted(folder.glob("*/"))
        finished = [at for at in places if (at / "results.json").exists() and not (at / CODER_FILE).exists()]
        if not finished:
            raise LimbeckError(f"{folder} holds no finished run; finish it with the command that started it")
        for place in finished:
            runs += _read_run(place)
    return runs


def unfinished(folders: Iterable[Path]) -> list[Path]:
    """Return the runs inside these folders that `read_runs` leaves out."""
    places = [path.parent for folder in folders for path in sorted(folder.glob("*/recipe.yaml"))]
    return [place for place in places if not (place / "results.json").exists()]


def _read_run(folder: Path) -> list[FinishedRun]:
    whole = whole_recipe_of(folder)
    environment = files.read_json(folder / "environment.json")
    results = files.read_json(folder / "results.json")
    for name, content, key in (("environment.json", environment, "group"), ("results.json", results, "students")):
        if not isinstance(content, dict) or key not in content:
            raise LimbeckError(f"{folder / name} is damaged; remove its folder and train again")
    recipe = dict(last_stage(whole))
    return [
        FinishedRun(folder, student, recipe, environment, figures, _cost(results, student), whole.get("reference"))
        for student, figures in results["students"].items()
    ]


def _cost(results: Mapping[str, Any], student: str) -> dict[str, float]:
    known = {name: results.get(key) for name, key in (("epochs", "epochs"), ("seconds", "seconds_of_last_session"))}
    known["parameters"] = results.get("parameters", {}).get(student)
    return {name: float(value) for name, value in known.items() if value is not None}


def group(runs: Sequence[FinishedRun]) -> list[Group]:
    """Group runs by recipe up to the seed, in the order of their first appearance.

    Raises:
        LimbeckError: two runs of one recipe have the same seed.
    """
    by_recipe: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_recipe.setdefault(f"{run.environment['group']} {run.student}", []).append(run)
    labels = _labels([members[0] for members in by_recipe.values()])
    groups = []
    for label, members in zip(labels, by_recipe.values(), strict=True):
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            twice = next(run for run in members if seeds.count(run.seed) > 1)
            raise LimbeckError(f"{label} has seed {twice.seed} twice, once in {twice.folder}: name each run once")
        groups.append(Group(label, dict(sorted(zip(seeds, members, strict=True)))))
    return groups


def require(groups: Sequence[Group], which: Which) -> None:
    """Check that every run has these weights.

    Raises:
        LimbeckError: one has no best weights.
    """
    for run in _members(*groups):
        if which not in run.results:
            raise LimbeckError(f"{run.folder} has no {which} weights: it was trained without a validation split")


def _labels(runs: Sequence[FinishedRun]) -> list[str]:
    """Name each group, with the mark of its recipe where another one has the same name."""
    labels = labels_of([described(run) for run in runs])
    marked = zip(labels, (run.environment["group"][:6] for run in runs), strict=True)
    return [f"{label} ({mark})" if labels.count(label) > 1 else label for label, mark in marked]


def labels_of(trees: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each of what `described` returned by its method, and by what else it has that not all have."""
    keys = [key for key in dict.fromkeys(key for tree in trees for key in tree) if key != "method.name"]
    differing = [key for key in keys if any(_differs(key, tree, trees) for tree in trees)]
    places = {key: key.removesuffix(".name") for key in differing}
    short = [place.rpartition(".")[2] for place in set(places.values())]
    words = {
        key: word if short.count(word := place.rpartition(".")[2]) == 1 else place for key, place in places.items()
    }
    labels = []
    for tree in trees:
        rest = [f"{words[key]}={_show(tree[key])}" for key in differing if key in tree and _differs(key, tree, trees)]
        labels.append(", ".join([tree["method.name"], *rest]))
    return labels


def described(run: FinishedRun) -> dict[str, Any]:
    """Return the leaves of a recipe that may tell it from others: neither its teacher's place nor its seed, say."""
    leaves, apart = flat(run.recipe).items(), {"task", "teacher", "backbone", "reference"}
    tree = {key: value for key, value in leaves if key not in _SILENT and key.partition(".")[0] not in apart}
    if peers := run.recipe.get("peers"):
        models = [run.recipe["model"], *(peer["model"] for peer in peers)]
        number = run.student.removeprefix("student-")
        own = {"model": models[int(number)]} if number.isdecimal() else {}
        tree = {key: value for key, value in tree.items() if not key.startswith("model.")} | flat(own)
    tree |= {name: run.environment[name] for name in ("teacher", "backbone") if run.environment.get(name)}
    return tree | ({} if run.student == "student" else {"student": run.student})


def _differs(key: str, tree: Mapping[str, Any], trees: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a field tells this tree from one whose owner, such as the method of a method's field, is the same."""
    owner = "method.name" if key == "teacher" else f"{key.removesuffix('.name').rpartition('.')[0]}.name"
    return any(other.get(key) != tree.get(key) for other in trees if other.get(owner) == tree.get(owner))


def _show(value: Any) -> str:
    """Return a value as a label has it: of views, say, the names."""
    if not isinstance(value, list):
        return str(value)
    return "+".join(_show_item(item) for item in value) or "none"


def _show_item(item: Any) -> str:
    """Return a view or a peer as a label has it."""
    if isinstance(item, Mapping) and isinstance(item.get("model"), Mapping):
        return str(item["model"]["name"])
    return str(item["name"]) if isinstance(item, Mapping) and "name" in item else str(item)


def paired(group: Group, first: Group, key: str, which: Which) -> Paired | None:
    """Return the paired difference of a figure, or None with fewer than two common seeds or on other test sets."""
    from limbeck.studies.verdict import measure

    ours, theirs = group.values(key, which), first.values(key, which)
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2 or len({run.environment["content"].get("test data") for run in _members(group, first)}) > 1:
        return None
    differences = np.array([ours[seed] - theirs[seed] for seed in seeds])
    found = measure([differences], 0.0, scale=max(map(abs, [*ours.values(), *theirs.values()])))
    return Paired(found.mean, found.high - found.mean, found.p if found.spread else math.nan, len(seeds))


def _members(*groups: Group) -> list[FinishedRun]:
    return [run for group in groups for run in group.runs.values()]


def table(groups: Sequence[Group], which: Which) -> list[dict[str, str]]:
    """Return a row per group: its label, n, and mean ± standard deviation of each figure, as printed."""
    columns = [figure for figure in COLUMNS if any(group.values(figure.key, which) for group in groups)]
    rows = []
    for member in groups:
        row = {"group": member.label, "n": str(len(member.runs))}
        for figure in columns:
            row[figure.name] = mean_and_spread(list(member.values(figure.key, which).values()), figure)
        rows.append(row)
    return rows


def mean_and_spread(values: Sequence[float], figure: Figure) -> str:
    """Print mean ± sample standard deviation; a single value has no spread."""
    if not values:
        return "–"
    mean = figure.show(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} ± {figure.show(float(np.std(values, ddof=1)))}"


def paired_table(groups: Sequence[Group], which: Which, keys: Sequence[str]) -> list[dict[str, str]]:
    """Return a row per group after the first: mean difference to the first, 95 % interval and p, over common seeds."""
    rows = []
    for member in groups[1:]:
        row = {"against " + groups[0].label: member.label}
        for figure in (figure for figure in COLUMNS if figure.key in keys):
            found = paired(member, groups[0], figure.key, which)
            if found is not None:
                row["pairs"] = str(found.pairs)
                sign = "+" if found.mean > 0 else ""
                p = "no spread" if math.isnan(found.p) else f"p {found.p:.3f}" if found.p >= 0.001 else "p < 0.001"
                row[figure.name] = f"{sign}{figure.show(found.mean)} ± {figure.show(found.half_width)}, {p}"
        if len(row) > 1:
            rows.append(row)
    return rows


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of equal keys as a Markdown table."""
    if not rows:
        return ""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *[[row.get(name, "–") for name in head] for row in rows]]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def csv(groups: Sequence[Group], which: Which) -> str:
    """Return every run's unscaled figures, a line each."""
    import pandas as pd

    lines = [
        {"group": member.label, "seed": seed, "folder": str(run.folder), **run.results.get(which, {})}
        for member in groups
        for seed, run in member.runs.items()
    ]
    return str(pd.DataFrame(lines).to_csv(index=False))
