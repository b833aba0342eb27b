"""Reads the blocks of a Markdown page and executes them in their order, as a reader would."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
import typer
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.data.sources.digits import Digits
from limbeck.recipes import read_recipe, recipe_tree
from limbeck.recipes.parse import merged, parse
from limbeck.recipes.read import plan
from limbeck.studies.make import prepare
from limbeck.testing import TargetWriterSuite

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands


class Block(NamedTuple):
    """A fenced block of a page; `line` is that of its fence, counted from 1."""

    language: str
    text: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


class Page:
    """A page in the course of being executed, in an empty folder; its Python blocks share one module."""

    def __init__(self, path: Path, module: ModuleType) -> None:
        self.path, self.module = path, module

    def execute(self) -> None:
        for block in blocks(self.path.read_text()):
            where = f"{self.path.name}, line {block.line}"
            if block.language == "python":
                self.python(block)
            elif block.language == "yaml":
                self.recipe(block.text, where)
            elif block.language in {"console", "bash"}:
                for line in block.text.splitlines():
                    self.command(line, where)
            else:
                assert block.language == "text", f"{where}: say what to do with a block of {block.language!r}"

    def python(self, block: Block) -> None:
        """Execute a block; conformance suites that it defines are run as pytest would."""
        known = set(vars(self.module))
        # empty lines first: tracebacks then name the page's own lines
        exec(compile("\n" * block.line + block.text, str(self.path), "exec"), vars(self.module))
        for name in vars(self.module).keys() - known:
            suite = getattr(self.module, name)
            if isinstance(suite, type) and issubclass(suite, TargetWriterSuite) and suite is not TargetWriterSuite:
                for test in (test for test in dir(suite) if test.startswith("test_")):
                    getattr(suite(), test)()

    def recipe(self, text: str, where: str) -> None:
        """Check a recipe or a study. With `# NAME.yaml` on top it is whole and kept; others change digits/baseline."""
        if named := re.match(r"# (\S+\.yaml)\n", text):
            Path(named[1]).write_text(text)
            if "\nclaims:" in text:
                prepare(named[1], None, [], None, "cpu", "")
                return
            for row in parse(text, where).get("rows", [""]):
                read_recipe(f"{named[1]}/{row}".rstrip("/"))
        else:
            plan(merged(recipe_tree("digits/baseline"), parse(text, where)), where)

    def command(self, line: str, where: str) -> None:
        """Check a command line, and run it where `is_quick` says so; what trains then does so for one epoch."""
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if "limbeck" not in words:
            assert words[0] == "make", f"{where}: neither limbeck nor make: {line}"
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), f"{where}: no such target: {line}"
            return
        start = words.index("limbeck")
        name, *arguments = words[start + 1 :]
        values = COMMANDS[name].make_context(name, list(arguments)).params
        if is_quick(name, values) and start == 0:
            short = ["training.epochs=1"] if name in {"train", "study", "tune"} and not values.get("dry") else []
            done = CliRunner().invoke(app, [name, *arguments, *short])
            assert done.exit_code == 0, f"{where}: {line}\n{done.exception!r}\n{done.output}"


def is_quick(name: str, values: dict[str, object]) -> bool:
    """Say whether a command is run here. A recipe is checked, with its overrides, in any case.

    Run are: every command but `demo`, `train` and `study`, so a page trains what it compares, and `tune` searches;
    `train` where all stages learn from the digits that are bundled, and `study`, both in this process alone; `advise`
    where it is `--dry`. `demo` trains for a minute.
    """
    if name == "advise":
        return bool(values["dry"])
    if name == "study":
        here = values["on"] == "here" and not values["jobs"]
        if not here:
            prepare(values["file"], None, values["overrides"] or [], values["scale"], "cpu", "")
        return here
    if name != "train":
        return name != "demo"
    stages = read_recipe(values["recipe"], values["overrides"] or []).stages.values()
    return all(type(stage.data.source) is Digits for stage in stages) and not (values["devices"] or values["nodes"])


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return a function that executes a page in an empty folder."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    threads = torch.get_num_threads()
    # the networks are tiny: more threads would only wait for each other
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield lambda path: Page(path, module).execute()
    torch.set_num_threads(threads)


@pytest.fixture
def generate(monkeypatch):
    """Return docs/generate.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("generate")
    for name in ("generate", "fields"):
        sys.modules.pop(name, None)
