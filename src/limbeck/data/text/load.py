"""The data of a translation recipe."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, Strict

from limbeck.core.config import Count, Flag, Named, NonNegative, configurable
from limbeck.data.choice import DataChoice, Splits
from limbeck.data.text.examples import TextExamples
from limbeck.data.text.sources import TEXT_SOURCES, Pairs, TextSource
from limbeck.data.text.tokens import FILE, TokenizerChoice, Tokens
from limbeck.errors import LimbeckError


class _Bad(NamedTuple):
    """A pair that cannot be learned from: its number, and what is wrong."""

    number: int
    why: str


@configurable
class Translations:
    """Whose translations stand in place of the training targets: sequence-level KD. Exactly one of `stage` and `run`.

    Attributes:
        stage: an earlier stage of the same recipe.
        run: the folder of an earlier run.
        which: its "last" weights, or the "best" on its validation split.
        beams: of the search.
        penalty: of length.
    """

    stage: str | None = None
    run: str | None = None
    which: Literal["last", "best"] = "last"
    beams: Count = 5
    penalty: NonNegative = 1.0

    def __post_init__(self) -> None:
        if (self.stage is None) == (self.run is None):
            raise ValueError("translations are of exactly one of: stage, run")


@configurable
class TextData(DataChoice):
    """Which sentences a network learns to translate.

    Attributes:
        source: where they come from.
        examples: use only the first so many training pairs; None uses all.
        tested: use only the first so many pairs of the validation and of the test split; None uses all.
        tokenizer: how sentences are cut into tokens.
        longest: the most tokens of a sentence, with its end, in both languages.
        drop: leave out training pairs with an empty or too long side; without it they are refused. Those of other
            splits are always refused.
        translations: whose translations the training targets are, for sequence-level KD; None keeps the references.
    """

    source: Annotated[TextSource, Named(TEXT_SOURCES)]
    examples: Count | None = None
    tested: Count | None = None
    tokenizer: TokenizerChoice = field(default_factory=TokenizerChoice)
    longest: Annotated[int, Strict(), Field(ge=2)] = 128
    drop: Flag = False
    translations: Translations | None = None

    @property
    def validated(self) -> bool:
        """Whether the source has a validation split."""
        return self.source.validation is not None

    def load(self, device: torch.device | str) -> Splits:
        """Read the files, learn the vocabulary, and cut the sentences into tokens.

        Raises:
            LimbeckError: files are missing, broken or not aligned; a sentence is empty or too long; a library is
                missing.
        """
        train, validation, test = (self.source.split(which) for which in ("train", "validation", "test"))
        assert train is not None
        assert test is not None
        train = _first(train, self.examples)
        train = self._cut(train, _empty(train))
        tokens = self.tokenizer.tokens([*train.source, *train.target])
        train = self._cut(train, self._too_long(train, tokens))
        splits = [train, *(None if one is None else _first(one, self.tested) for one in (validation, test))]
        for split in splits[1:]:
            if split is not None:
                _refuse(split, [*_empty(split), *self._too_long(split, tokens)], "remove the pair from both files")
        made = [None if one is None else self._examples(one, tokens, device) for one in splits]
        assert made[0] is not None
        assert made[2] is not None
        return Splits(made[0], made[1], made[2])

    def known_classes(self) -> None:
        """Read the files; the tokens, which are the classes, are learned from them.

        Raises:
            LimbeckError: files are missing, broken or not aligned.
        """
        for which in ("train", "validation", "test"):
            self.source.split(which)

    def tested_alone(self, run: Any) -> dict[str, Any]:
        """Return the run's own vocabulary, where it is kept, in place of learning it again."""
        path = Path(run) / FILE
        return {"tokenizer": {"file": str(path)}} if path.exists() else {}

    def _examples(self, text: Pairs, tokens: Tokens, device: torch.device | str) -> TextExamples:
        return TextExamples(text, tokens, (self.source.source, self.source.target), self.longest, device)

    def _cut(self, text: Pairs, bad: list[_Bad]) -> Pairs:
        """Leave bad pairs out, or refuse them."""
        if not self.drop:
            _refuse(text, bad, "remove the pair from both files, or set data.drop to true")
            return text
        away = {one.number for one in bad}
        kept = [number for number in range(len(text.source)) if number not in away]
        if not kept:
            raise LimbeckError(f"every pair of {text.names[0]} and {text.names[1]} is empty or too long")
        return text._replace(source=[text.source[i] for i in kept], target=[text.target[i] for i in kept])

    def _too_long(self, text: Pairs, tokens: Tokens) -> list[_Bad]:
        found = []
        for name, side in zip(text.names, (text.source, text.target), strict=True):
            for number, sentence in enumerate(tokens.encode(side)):
                if len(sentence) >= self.longest:
                    why = f"line {number + 1} of {name} has {len(sentence) + 1} tokens with its end, more than "
                    found.append(_Bad(number, f"{why}data.longest {self.longest}"))
        return found


def _first(text: Pairs, count: int | None) -> Pairs:
    return text._replace(source=text.source[:count], target=text.target[:count])


def _empty(text: Pairs) -> list[_Bad]:
    return [
        _Bad(number, f"line {number + 1} of {name} is empty")
        for name, side in zip(text.names, (text.source, text.target), strict=True)
        for number, sentence in enumerate(side)
        if not sentence
    ]


def _refuse(text: Pairs, bad: list[_Bad], mend: str) -> None:
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LimbeckError(f"{min(bad).why}{more}: {mend}")
