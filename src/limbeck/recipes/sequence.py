"""Sequences of stages in a line: a chain of networks, or generations of one. Free of torch.

    chain: [resnet56, resnet32, resnet20]    teacher, assistant, student: each is taught by the one before
    generations: 3                           generation-1 to generation-3: the recipe's own network three times

The first learns from labels alone; the others have the recipe's method and matchers, and its `teacher` without a
source. `stages` may change single links by their names, and so may overrides. The last link has the recipe's seed, so
that it is a pair with a run of that seed without a teacher. Links before it of the same network have seeds of their
own, 1000 apart: none begins with the weights, and sees the views, from which its teacher began.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.errors import LimbeckError, nearest
from limbeck.recipes.parse import merged, parse, write

FIELDS = ("chain", "generations")
SEEDS_APART = 1000
_SOURCES = ("stage", "run", "weights", "model")


def unrolled(tree: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Return a recipe's mapping with a sequence written out as stages, and the overrides that are left for these.

    A recipe without a sequence stays as it is.

    Raises:
        LimbeckError: the sequence is none, or its recipe has what a sequence makes itself.
    """
    roots = [text.partition("=")[0].split(".")[0] for text in overrides]
    own = dict(tree)
    for text, root in zip(overrides, roots, strict=True):
        key, equals, value = text.partition("=")
        if root in FIELDS and (key != root or not equals):
            raise LimbeckError(f"override {text!r}: write {root}=… whole")
        if key in {*FIELDS, "seed"}:
            own = merged(own, {key: parse(f"value: {value}", f"override {text!r}")["value"]})
    chosen = [field for field in FIELDS if own.get(field) is not None]
    left = [text for text, root in zip(overrides, roots, strict=True) if root not in FIELDS]
    plain = {key: value for key, value in own.items() if key not in FIELDS}
    if not chosen:
        return (dict(tree) if not set(FIELDS) & own.keys() else plain), left
    if len(chosen) == 2:
        raise LimbeckError(f"{where}: chain and generations are two ways to write a sequence: give one of them")
    _refuse(plain, chosen[0], where)
    links = _chain(own["chain"], where) if chosen == ["chain"] else _generations(own["generations"], where)
    links = _linked(_seeded(links, own.get("seed", 0), where))
    changes = plain.get("stages") or {}
    for name in changes:
        if name not in links:
            raise LimbeckError(
                f"{where}: stages: the {chosen[0]} has no link {name!r}{nearest(str(name), list(links))}"
            )
    stages = {name: merged(link, changes[name]) if changes.get(name) else link for name, link in links.items()}
    return {**plain, "stages": stages}, left


def _refuse(tree: Mapping[str, Any], sequence: str, where: str) -> None:
    """Refuse what a sequence makes itself, or what it is no sequence of."""
    if tree.get("peers"):
        raise LimbeckError(f"{where}: the links of a {sequence} are one network each: leave peers out")
    teacher = tree.get("teacher")
    given = [name for name in _SOURCES if isinstance(teacher, Mapping) and teacher.get(name) is not None]
    if given:
        raise LimbeckError(f"{where}: in a {sequence} each link teaches the next: leave teacher.{given[0]} out")
    stages = tree.get("stages")
    if stages is not None and not isinstance(stages, Mapping):
        raise LimbeckError(f"{where}: stages is a mapping of names to what each stage changes")


def _chain(networks: Any, where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(networks, list) or len(networks) < 2:
        raise LimbeckError(f"{where}: chain is a list of two networks or more, from the first teacher to the student")
    return {name: {"model": network} for name, network in zip(_names(len(networks)), networks, strict=True)}


def _names(links: int) -> list[str]:
    between = links - 2
    assistants = ["assistant"] if between == 1 else [f"assistant-{i + 1}" for i in range(between)]
    return ["teacher", *assistants, "student"]


def _generations(count: Any, where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise LimbeckError(f"{where}: generations is a whole number of at least 2; it is {count!r}")
    return {f"generation-{i + 1}": {} for i in range(count)}


def _seeded(links: Mapping[str, dict[str, Any]], seed: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return links with seeds of their own, where one of the same network comes later."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise LimbeckError(f"{where}: seed: must be a whole number; it is {seed!r}")
    return {
        name: link | ({"seed": seed + SEEDS_APART * again} if again else {})
        for (name, link), again in zip(links.items(), _again(links), strict=True)
    }


def _again(links: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Return how often the network of each link comes again after it."""
    networks = [link.get("model") for link in links.values()]
    return [networks[i + 1 :].count(network) for i, network in enumerate(networks)]


def sequence_of(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the line that resolved stages may stand for, where their seeds are those of a sequence; else nothing."""
    names, models = list(stages), [stage["model"] for stage in stages.values()]
    seeds, again = [stage["seed"] for stage in stages.values()], _again(stages)
    if not any(again) or seeds != [seeds[-1] + SEEDS_APART * count for count in again]:
        return {}
    if names == [f"generation-{i + 1}" for i in range(len(names))]:
        return {"generations": len(names)}
    return {"chain": models} if names == _names(len(names)) else {}


def _linked(links: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return links, the first of which learns from labels, and each other from the one before."""
    names = list(links)
    first = links[names[0]] | {"method": "cross_entropy", "matchers": [], "teacher": None}
    taught = {name: links[name] | {"teacher": {"stage": before}} for before, name in itertools.pairwise(names)}
    return {names[0]: first, **taught}


def shown(tree: Mapping[str, Any], where: str) -> str:
    """Return the stages that a recipe's sequence stands for as comments in YAML; nothing where it has none.

    Raises:
        LimbeckError: the sequence is none.
    """
    chosen = [field for field in FIELDS if tree.get(field) is not None]
    if not chosen:
        return ""
    text = write({"stages": unrolled(tree, where)[0]["stages"]})
    return f"# {chosen[0]} stands for:\n" + "".join(f"# {line}\n" for line in text.splitlines())
