"""Documents are executed or generated, never stale."""

import re
from pathlib import Path

import pytest

from limbeck.matching import MATCHERS
from limbeck.targets import METHODS

ROOT = Path(__file__).parents[2]
CARDS = [page for folder in ("methods", "matchers") for page in sorted((ROOT / "docs" / folder).glob("*.md"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *CARDS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_works(path, execute):
    execute(path)


BROKEN = {
    "python": ("import limbeck\nlimbeck.distill", "no attribute 'distill'"),
    "python that warns": ("import warnings\nwarnings.warn('old')", "old"),
    "console": ("$ limbeck list recipe", "'recipe' is not one of"),
    "console of make": ("$ make dem", "no such target"),
    "console with an unknown option": ("$ limbeck compare runs/a --html page.html", "No such option"),
    "console with an unknown recipe": ("$ limbeck train fashion_mnist/pskdd", "did you mean 'fashion_mnist/pskd'"),
    "console with a wrong override": ("$ limbeck train fashion_mnist/pskd method.alpha=2", "method.alpha"),
    "console of two processes": ("$ torchrun -m limbeck train digits/pskd training.epoch=2", "did you mean 'epochs'"),
    "console without its run": ("$ limbeck evaluate runs/never-trained", "is no run folder"),
    "yaml": ("optimiser: {name: sgd, lrr: 0.1}", "unknown key 'lrr'"),
    "yaml of a file": ("# mine.yaml\nmethod: pskd", "data is missing"),
    "toml": ("a = 1", "say what to do with a block of 'toml'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_page_that_shows_what_does_not_work_fails(kind, execute, tmp_path):
    text, reason = BROKEN[kind]
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```{kind.split()[0]}\n{text}\n```\n")
    with pytest.raises(Exception, match=reason):
        execute(page)


def test_generated_parts_are_what_would_be_generated(generate):
    stale = [str(path.relative_to(ROOT)) for path, text in generate.pages().items() if path.read_text() != text]
    assert not stale, "run `make docs` and commit what it writes"


def test_generating_twice_changes_nothing(generate):
    text = "<!-- generated: x -->\nold\n<!-- end -->\nkept\n<!-- generated: y -->\n<!-- end -->\n"
    once = generate.between(text, "x", r"a \1 | b")
    assert once == "<!-- generated: x -->\n\na \\1 | b\n\n<!-- end -->\nkept\n<!-- generated: y -->\n<!-- end -->\n"
    assert generate.between(once, "x", r"a \1 | b") == once


def test_every_method_has_its_page_and_no_other_page_is_left():
    assert {path.stem for path in (ROOT / "docs/methods").glob("*.md")} == set(METHODS)


def test_every_matcher_has_its_page_and_the_others_know_them():
    assert {path.stem for path in (ROOT / "docs/matchers").glob("*.md")} == set(MATCHERS)
    for page in ("README.md", "docs/index.md", "docs/matching.md"):
        assert all(f"matchers/{name}.md)" in (ROOT / page).read_text() for name in MATCHERS), page


def test_every_card_has_its_parts(generate):
    for cls in (*METHODS.values(), *MATCHERS.values()):
        read = generate.card(cls)
        assert read.about
        assert read.equation
        for part in ("## Equation", "| symbol | here |", "## Fidelity", "## Limits"):
            assert part in read.body, f"{cls.__name__} has no {part}"


def test_every_field_of_a_recipe_is_listed(generate):
    text = (ROOT / "docs/recipes.md").read_text()
    for cls in (generate.Stage, *generate.SECTIONS.values(), *generate.OPTIMISERS.values(), *generate.RATES.values()):
        for field in cls.__dataclass_fields__:
            assert f"| `{field}` |" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://")):
            continue
        place, _, heading = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{link} leads nowhere"
        assert not heading or heading in anchors(target), f"{link}: no such heading"


def anchors(path):
    """Return the headings of a page as they are written in links."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "$ make demo" in text
    assert "$ make test" in text
