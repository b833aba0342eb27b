"""Where aligned sentences come from: two text files for each split, a sentence in each line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple, Protocol, runtime_checkable

from limbeck.core.config import configurable
from limbeck.errors import LimbeckError


class Pairs(NamedTuple):
    """Aligned sentences.

    Attributes:
        source: one language's.
        target: the other's, as many.
        names: of the two files.
    """

    source: list[str]
    target: list[str]
    names: tuple[str, str]


@runtime_checkable
class TextSource(Protocol):
    """Where sentences come from.

    Attributes:
        name: its name in a recipe.
        source: code of the language that is translated.
        target: code of the language that it is translated into.
        validation: name of the validation split, or None.
    """

    name: ClassVar[str]

    @property
    def source(self) -> str: ...  # noqa: D102

    @property
    def target(self) -> str: ...  # noqa: D102

    @property
    def validation(self) -> str | None: ...  # noqa: D102

    def split(self, which: Literal["train", "validation", "test"]) -> Pairs | None:
        """Read a split; None where the source has none.

        Raises:
            LimbeckError: a file is missing or broken, or the two are not aligned.
        """
        ...


@configurable
class TextFiles:
    """Aligned text files of any two languages: `ROOT/SPLIT.LANGUAGE`, or the same with `.gz`, a sentence in each line.

    Attributes:
        source: code of the language that is translated, such as "de"; files end in it.
        target: code of the language that it is translated into; its BLEU is cut into words by it.
        root: folder of the files.
        train: name of the training split's files.
        validation: of the validation split's; null for none.
        test: of the test split's.
    """

    name: ClassVar[str] = "text"

    source: str
    target: str
    root: str
    train: str = "train"
    validation: str | None = "valid"
    test: str = "test"

    def __post_init__(self) -> None:
        _check_languages(self.source, self.target)

    def split(self, which: Literal["train", "validation", "test"]) -> Pairs | None:
        """Read a split."""
        stem = {"train": self.train, "validation": self.validation, "test": self.test}[which]
        return None if stem is None else _pairs(Path(self.root), stem, self.source, self.target)


@configurable
class Multi30k:
    """Multi30k, task 1: descriptions of 31,000 photographs, in English and German; not for commercial use.

    Attributes:
        source: language that is translated.
        target: language that it is translated into.
        root: folder with train, val and the tests, `.en` and `.de`, raw text, each a file or a `.gz`.
        test: which test set.
    """

    name: ClassVar[str] = "multi30k"
    validation: ClassVar[str] = "val"

    source: Literal["de", "en"] = "de"
    target: Literal["de", "en"] = "en"
    root: str = "data/multi30k"
    test: Literal["test_2016_flickr", "test_2017_flickr", "test_2017_mscoco"] = "test_2016_flickr"

    def __post_init__(self) -> None:
        _check_languages(self.source, self.target)

    def split(self, which: Literal["train", "validation", "test"]) -> Pairs | None:
        """Read a split."""
        stem = {"train": "train", "validation": self.validation, "test": self.test}[which]
        return _pairs(Path(self.root), stem, self.source, self.target)


TEXT_SOURCES: Final[dict[str, type[TextSource]]] = {source.name: source for source in (Multi30k, TextFiles)}


def _check_languages(source: str, target: str) -> None:
    if source == target:
        raise ValueError(f"source and target are both {source!r}: name two languages")


def _pairs(root: Path, stem: str, source: str, target: str) -> Pairs:
    (one, first), (two, second) = (_lines(root, f"{stem}.{language}") for language in (source, target))
    if len(first) != len(second):
        raise LimbeckError(
            f"{one} has {len(first)} lines and {two} has {len(second)}: aligned files have as many, the same sentence "
            "in the same line"
        )
    if not first:
        raise LimbeckError(f"{one} is empty: give it at least one sentence")
    return Pairs(first, second, (str(one), str(two)))


def _lines(root: Path, name: str) -> tuple[Path, list[str]]:
    """Return a text file's lines, and where it is."""
    plain, packed = root / name, root / f"{name}.gz"
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise LimbeckError(f"there is no text file {plain} (or {packed.name}): set data.source.root to its folder")
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path == packed else content).decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise LimbeckError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise LimbeckError(f"{path} is no text in UTF-8: {error}") from error
    # by line ends alone: str.splitlines knows of others, which stand within sentences
    lines = [line.strip() for line in text.split("\n")]
    return path, lines[:-1] if lines[-1] == "" else lines
