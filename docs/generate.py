"""Write the generated parts of the documentation: `make docs`. Running it twice changes nothing.

A page of docs/methods/ and docs/matchers/ is written whole, from its card; in the other pages only what stands between
`<!-- generated: NAME -->` and `<!-- end -->` is.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

from fields import (
    HEAD,
    attributes,
    classes_table,
    either,
    field_rows,
    fields_table,
    paragraphs,
    prose,
    table,
    words,
    yaml,
)
from matcher_pages import matcher_page, matchers_table

from limbeck.advice.candidates import CANDIDATES
from limbeck.core.config import fields_of
from limbeck.core.schedules import SCHEDULES
from limbeck.core.shard import Shuffle
from limbeck.core.stopping import STOPS
from limbeck.core.writer import TargetWriter
from limbeck.data.boxes.load import BoxData
from limbeck.data.boxes.sources import BOX_SOURCES
from limbeck.data.boxes.views import BOX_VIEWS
from limbeck.data.load import MIXES, SOURCES, VIEWS, Data
from limbeck.data.order import steps_of
from limbeck.data.text.load import TextData, Translations
from limbeck.data.text.sources import TEXT_SOURCES
from limbeck.data.text.tokens import TokenizerChoice
from limbeck.matching import MATCHERS
from limbeck.memory import Dense, TopK
from limbeck.memory.sizes import PLACES, Layout, in_words, traffic
from limbeck.metrics.figures import ALL
from limbeck.models import ModelSpec, parameters
from limbeck.models.table import DETECTORS, MODELS, TRANSLATORS, Builder
from limbeck.recipes.parse import merged, parse
from limbeck.recipes.scale import SCALES, Scale
from limbeck.recipes.sequence import unrolled
from limbeck.recipes.shipped import recipe_tables, recipe_text, recipe_tree
from limbeck.studies.study import Study, read_study
from limbeck.targets import METHODS
from limbeck.tasks import Translation
from limbeck.teachers import Stage, TeacherChoice
from limbeck.teachers.backbone import BackboneChoice
from limbeck.teachers.relation import outline
from limbeck.train.loop import Training
from limbeck.train.optimisers import OPTIMISERS
from limbeck.train.rates import RATES

DOCS = Path(__file__).parent
SECTIONS = {"data": Data, "teacher": TeacherChoice, "training": Training}


class Card(NamedTuple):
    """The docstring on top of a method's file.

    Attributes:
        title: the method's name.
        about: what it is, with its source.
        equation: its lines.
        body: the rest, as Markdown.
    """

    title: str
    about: str
    equation: list[str]
    body: str


def pages() -> dict[Path, str]:
    """Return every page that has a generated part, by its path, as it should be."""
    cards = {name: card(cls) for name, cls in MATCHERS.items()}
    parts = {
        "methods": methods_table,
        "matchers": lambda: matchers_table(cards),
        "recipes": recipes_table,
        "scales": scales_table,
        "fields": recipe_fields,
        "models": models_table,
        "sources": sources,
        "views": lambda: classes_table({**VIEWS, **MIXES}),
        "figures": figures_table,
        "study": study_table,
        "claims": claims_table,
        "translation": translation_fields,
        "detection": detection_fields,
        "candidates": candidates_table,
        "stops": lambda: classes_table(STOPS),
        "traffic": traffic_table,
    }
    written = {DOCS / "methods" / f"{name}.md": method_page(name) for name in METHODS}
    written |= {DOCS / "matchers" / f"{name}.md": matcher_page(name, read) for name, read in cards.items()}
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        for name, part in parts.items():
            if f"<!-- generated: {name} -->" in text:
                text = between(text, name, part())
        written[path] = text
    return written


def between(text: str, name: str, content: str) -> str:
    """Return a page with other content between the markers of a generated part."""
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{content.strip()}\n\n{found[2]}", text)


def card(cls: type) -> Card:
    """Read the card of a method or matcher: a title line, then blocks; an indented one belongs to the heading above."""
    blocks = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "").split("\n\n")
    title, _, about = blocks[0].partition(": ")
    equation: list[str] = []
    body = []
    for block in blocks[1:]:
        heading, *rest = block.splitlines()
        lines = [line.strip() for line in rest]
        if block.startswith("|"):
            body.append(block)
        elif heading == "Equation":
            equation = lines
            body.append("## Equation\n\n```text\n" + "\n".join(lines) + "\n```")
        else:
            body.append(f"## {heading}\n\n{prose(' '.join(lines))}")
    return Card(title, prose(" ".join(about.split())), equation, "\n\n".join(body))


def methods_table() -> str:
    """Return the table of the home page, a row per method."""
    rows = []
    for name, cls in METHODS.items():
        read = card(cls)
        equation = "<br>".join(f"`{line}`" for line in read.equation)
        rows.append([f"[{read.title}](methods/{name}.md)", f"`{name}`", f"`{cls.__name__}`", equation, needs(cls)])
    return table(["method", "in a recipe", "in Python", "equation", "needs"], rows)


def needs(cls: type[TargetWriter]) -> str:
    """Say what a method cannot do without."""
    own = cls().needs
    wanted = {
        "a trained copy of the network" if own.relation == "same" else "a teacher": own.teacher,
        "example ids": own.ids,
        "siblings": own.siblings,
        "peers": own.students > 1 or own.own_views,
        "a network with stages": own.copies > 1,
    }
    return ", ".join(name for name, wants in wanted.items() if wants) or "–"


def method_page(name: str) -> str:
    """Return the page of a method: its card, its fields, and the recipes that use it."""
    cls = METHODS[name]
    read = card(cls)
    settings = ", ".join(f"{key}: {yaml(value)}" for key, value in {"name": name, **fields_of(cls())}.items())
    own = cls().needs
    taught = "teacher: {run: runs/teacher}\n" if own.teacher else ""
    together = "peers: [resnet8]\n" if own.students > 1 or own.own_views else ""
    using = {
        table: [row for row in rows if method(f"{table}/{row}") == name] for table, rows in recipe_tables().items()
    }
    recipes = ", ".join(
        f"`{table}/{rows[0]}`" if len(rows) == 1 else f"{len(rows)} of `{table}`"
        for table, rows in using.items()
        if rows
    )
    return "\n\n".join(
        [
            f"<!-- generated by docs/generate.py from {cls.__module__}: edit its docstrings, then run `make docs` -->",
            f"# {read.title}",
            read.about[:1].upper() + read.about[1:],
            read.body,
            "## Use",
            f"```yaml\n{together}method: {{{settings}}}\n{taught}```",
            fields_table(cls) or "It has no fields.",
            f"In Python: `limbeck.targets.{cls.__name__}`. Needs: {needs(cls)}. Shipped recipes: {recipes or 'none'}.",
            "[All methods](../index.md)\n",
        ]
    )


def method(recipe: str) -> str:
    """Return the name of the method that a shipped recipe is about: its student's, or that of what this stands on."""
    tree, _ = unrolled(recipe_tree(recipe), recipe)
    *before, last = tree.get("stages", {"student": {}}).values()
    named = [merged(tree, last).get("method")]
    named += [stage.get("method") for stage in reversed(before) if "backbone" in last]
    chosen = next((one for one in named if one is not None), "cross_entropy")
    return chosen if isinstance(chosen, str) else str(chosen["name"])


def recipes_table() -> str:
    """Return the shipped tables of recipes with their descriptions."""
    rows = [
        [f"`{name}`", str(len(rows)), parse(recipe_text(name), name)["description"]]
        for name, rows in recipe_tables().items()
    ]
    return table(["table", "recipes", "what it is"], rows)


def scales_table() -> str:
    """Return what each scale makes of a recipe."""
    small, tiny = SCALES["small"], SCALES["tiny"]
    rows: dict[str, Callable[[Scale], str]] = {
        "classes": lambda scale: f"the first {scale.classes}",
        "training examples": lambda scale: f"{scale.examples:,}",
        "validation examples": lambda scale: (
            f"{scale.validation:,}, {'always' if scale.always else 'where there are any'}"
        ),
        "epochs": lambda scale: str(scale.epochs),
        "batch size": lambda scale: str(scale.batch_size),
        "networks": lambda scale: ", ".join(
            " ".join([f"`{rung.name}`", *(f"{option} {value}" for option, value in rung.options.items())])
            for rung in scale.ladder
        ),
        "views": lambda scale: (
            "as written" if scale.views is None else "only " + " and ".join(f"`{view}`" for view in scale.views)
        ),
        "side of images that a source resizes": lambda scale: str(scale.size),
    }
    told = [[what, say(tiny), say(small), "as written"] for what, say in rows.items()]
    return table(["", *(f"`scale: {name}`" for name in ("tiny", "small", "paper"))], told)


def figures_table() -> str:
    """Return the figures as they are named in results and in print."""
    rows = [[f"`{f.key}`", f.name, f"{f.scale:g}", "lower" if f.lower_is_better else "higher"] for f in ALL]
    return table(["key in results.json (unscaled)", "printed as", "printed ×", "better"], rows)


def claims_table() -> str:
    """Return the papers' claims as the study `claims` has them, a row each."""
    stated = read_study("claims").study.claims
    return table(
        ["claim", "as measured", "source"], [[one.says or "", f"`{one.claim}`", one.source or ""] for one in stated]
    )


def candidates_table() -> str:
    """Return every candidate of a tournament."""
    needs = {
        name: "a teacher" if one.teacher else "a twin" if one.twin else "a copy" if one.copy else ""
        for name, one in CANDIDATES.items()
    }
    rows = [[f"`{name}`", one.about, needs[name]] for name, one in CANDIDATES.items()]
    return table(["candidate", "what", "trains besides"], rows)


def study_table() -> str:
    """Return every field of a study."""
    meaning, rows = attributes(Study), []
    for field in dataclasses.fields(Study):  # type: ignore[arg-type]
        made = field.default_factory is not dataclasses.MISSING
        value = field.default_factory() if made else field.default
        shown = "required" if value is dataclasses.MISSING else f"`{yaml(value)}`" if value or value is None else "none"
        rows.append([f"`{field.name}`", shown, meaning[field.name]])
    return table(["field", "default", "meaning"], rows)


def traffic_table() -> str:
    """Return what past predictions send, for ImageNet-1k on one machine and on four."""
    examples, classes, batch, processes = 1_281_167, 1000, 256, 8
    rows = []
    for nodes in (1, 4):
        steps = steps_of(examples, batch * processes * nodes)
        for kind in (Dense("float16"), TopK(16, "float16")):
            for shuffle in get_args(Shuffle):
                for home in PLACES[1:]:
                    found = traffic(Layout(examples, classes, 1, kind), home, shuffle, processes=processes, nodes=nodes)
                    sizes = (found.epoch / steps, found.epoch, found.checkpoint)
                    place = "`disk`" if home == "disk" else "`device`, `ram`"
                    sent = [in_words(size) if size else "–" for size in sizes]
                    rows.append([f"{processes} × {nodes}", str(kind), f"`{shuffle}`", place, *sent])
    return table(["processes × machines", "format", "shuffle", "bank", "a step", "an epoch", "a checkpoint"], rows)


def models_table() -> str:
    """Return the networks by name, with their size at 10 classes and what a recipe may set."""
    rows = []
    for name, (build, settled, _) in MODELS.items():
        hints = get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
        options = [
            f"`{option.name}`: {words(hints[option.name])} (`{yaml(option.default)}`)"
            for option in inspect.signature(build).parameters.values()
            if option.name not in {*settled, "classes", "channels"}
        ]
        rows.append([f"`{name}`", f"{parameters(outline(ModelSpec(name))):,}", "; ".join(options) or "–"])
    return table(["network", "parameters (10 classes, RGB)", "options (default)"], rows)


def recipe_fields() -> str:
    """Return every field of a recipe but those of sources, views and methods, which have pages of their own."""
    notes = [["`stages`", "mapping of names to what each stage changes", "one stage", "trained in this order"]]
    links = "networks that are trained in this order, each taught by the one before; see [teachers](teachers.md)"
    notes += [["`chain`", "list of networks, as in `model`, two or more", "`null`", links]]
    again = "so many trainings of one network, each taught by the one before; see [teachers](teachers.md)"
    notes += [["`generations`", "whole number ≥ 2", "`null`", again]]
    notes += [["`scale`", either(f"`{name}`" for name in [*SCALES, "paper"]), "`paper`", "how small everything gets"]]
    ranked = "more networks that a `scale` ranks the recipe's own among"
    notes += [["`networks`", "list of networks, as in `model`", "`[]`", ranked]]
    notes += [["`rows`", "mapping of names to what each row changes", "no table", "many recipes in one file"]]
    notes += [["`description`", "text", "`null`", "what the recipe is"]]
    notes += [["`reference`", "anything", "`null`", "the numbers that it should reach, with their source"]]
    searched = "the space in which [`limbeck tune`](tune.md) searches it, over the method's own"
    notes += [["`tune`", "mapping of fields to ranges", "none", searched]]
    parts = [table(HEAD, [*field_rows(Stage), *notes])]
    for key, cls in SECTIONS.items():
        parts += [f"### `{key}`", fields_table(cls)]
    tables: dict[str, Mapping[str, type]] = {
        "`optimiser`": OPTIMISERS,
        "`schedule`, of the learning rate": RATES,
        "A schedule in place of a weight": SCHEDULES,
    }
    for heading, named in tables.items():
        parts += [f"### {heading}", classes_table(named)]
    return "\n\n".join(parts)


def sources() -> str:
    """Return each data source's docstring and fields."""
    parts = []
    for name, cls in SOURCES.items():
        parts += [f"### `{name}`", paragraphs(cls)]
        if dataclasses.fields(cls):  # type: ignore[arg-type]
            parts.append(fields_table(cls))
    return "\n\n".join(parts)


def translation_fields() -> str:
    """Return every field of a recipe of translation that others do not have."""
    parts = ["### `task: translation`", fields_table(Translation), "### `data`", fields_table(TextData)]
    parts += ["### `data.tokenizer`", fields_table(TokenizerChoice), "### `data.translations`"]
    parts += [fields_table(Translations), "### `data.source`", classes_table(TEXT_SOURCES)]
    return "\n\n".join([*parts, "### `model`", options_table(TRANSLATORS)])


def detection_fields() -> str:
    """Return every field of a recipe of detection that others do not have."""
    parts = ["### `backbone`", fields_table(BackboneChoice), "### `data`", fields_table(BoxData)]
    parts += ["### `data.source`", classes_table(BOX_SOURCES), "### `data.views`", classes_table(BOX_VIEWS)]
    return "\n\n".join([*parts, "### `model`", options_table(DETECTORS, "network")])


def options_table(builders: Mapping[str, Builder], *given: str) -> str:
    """Return the options of networks, but for those that are settled, or `given` otherwise."""
    rows = []
    for name, (build, settled, _) in builders.items():
        hints = get_type_hints(build.__init__, include_extras=True)  # type: ignore[misc]
        rows += [
            [f"`{name}`", f"`{one.name}`", words(hints[one.name]), f"`{yaml(one.default)}`"]
            for one in inspect.signature(build).parameters.values()
            if one.name not in {*settled, "classes", *given}
        ]
    return table(["network", "option", "value", "default"], rows)


def main() -> None:
    """Write what changed."""
    wanted = pages()
    for path in {*(DOCS / "methods").glob("*.md"), *(DOCS / "matchers").glob("*.md")} - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
