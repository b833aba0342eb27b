"""The rules of the house, as tests."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "limbeck"
FILES = sorted(PACKAGE.rglob("*.py"))

# A folder (or a module on top) may import those on earlier lines, and itself.
LAYERS = [
    {"errors"},
    {"plain", "files"},
    {"core"},
    {"metrics", "memory", "models", "data"},
    {"analysis"},
    {"targets", "matching", "tasks"},
    {"testing", "train"},
    {"teachers"},
    {"recipes"},
    {"studies"},
    {"tuning"},
    {"advice"},
    {"report"},
    {"api"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The package's own front door names what it re-exports; __main__ is the command line.
FREE = {"__init__.py", "__main__.py"}
OPTIONAL = {
    "choreographer",
    "faster_coco_eval",
    "kaleido",
    "optuna",
    "ray",
    "sacrebleu",
    "timm",
    "tokenizers",
    "zennit",
}


def place(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Yield (module, whether at the top of the file) of each import."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in top
            if node.module == "limbeck":
                for alias in node.names:
                    yield f"limbeck.{alias.name}", id(node) in top


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layers_import_downwards_only(path):
    if path.parent == PACKAGE and path.name in FREE:
        return
    mine = place(path)
    assert mine in LEVEL, f"{mine} has no layer: give it one in this test"
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "limbeck" and len(parts) > 1 and parts[1] != mine:
            assert LEVEL[parts[1]] < LEVEL[mine], f"{path} imports {module}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 300
    assert not re.search(r"utils?|helpers?|common|misc", path.relative_to(PACKAGE).as_posix())


@pytest.mark.parametrize("path", sorted((PACKAGE / "targets").glob("[a-z]*.py")), ids=lambda path: path.name)
def test_a_method_is_one_short_file_with_a_card(path):
    tree = ast.parse(path.read_text())
    card = ast.get_docstring(tree)
    for heading in ("Equation", "Fidelity", "Limits"):
        assert f"\n{heading}\n" in card, f"{path.name} has no section {heading}"
    assert len(code_lines(path)) <= 80


@pytest.mark.parametrize("name", ["attention", "factors", "fitnet", "ie", "overhaul"])
def test_a_matchers_paper_has_a_card(name):
    card = ast.get_docstring(ast.parse((PACKAGE / "matching" / f"{name}.py").read_text()))
    for heading in ("Equation", "Fidelity", "Limits"):
        assert f"\n{heading}\n" in card, f"{name}.py has no section {heading}"
    assert "| symbol | here |" in card


def code_lines(path):
    """Return the lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text()
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return [line for number, line in lines if number not in documented and line.strip() and line.strip()[0] != "#"]


def test_optional_libraries_are_imported_where_they_are_used():
    for path in FILES:
        for module, at_top in imports(path):
            assert not (at_top and module.split(".")[0] in OPTIONAL), f"{path} needs {module} at import"


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = {re.split(r"[<>=\[ ]", text)[0].lower() for text in [*project["dependencies"], *extras]}
    other_names = {
        "yaml": "pyyaml",
        "sklearn": "scikit-learn",
        "lightning_fabric": "lightning-fabric",
        "PIL": "torchvision",
    }
    known = {"limbeck", "pydantic_core", "huggingface_hub"} | set(__import__("sys").stdlib_module_names)
    for path in FILES:
        for module, _ in imports(path):
            top = module.split(".")[0]
            assert top in known or other_names.get(top, top).lower() in declared, f"{path} imports {module}"


def test_nothing_catches_everything():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                names = ast.unparse(node.type) if node.type else "everything"
                assert names not in {"everything", "Exception", "BaseException"}, f"{path}:{node.lineno}"


def test_warnings_are_errors():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["filterwarnings"][0] == "error"


def test_the_project_speaks_of_the_software_alone():
    """No path of a machine and no address of a registry in what is committed."""
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".cff", ".html", ".sh", ""}
    listed = [p for p in ROOT.rglob("*") if p.is_file() and p.suffix in kinds]
    skipped = {".git", ".venv", "runs", "build", "dist", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    for path in listed:
        if skipped & set(path.relative_to(ROOT).parts) or path == Path(__file__):
            continue
        text = path.read_text(errors="replace")
        assert not re.search(r"/root/|/home/\w|--(extra-)?index-url|https?://\S+/simple\b", text), path
