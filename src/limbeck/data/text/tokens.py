"""From sentences to tokens and back: one vocabulary for both languages, learned from the training text.

Bytes are the alphabet, so every text can be written in any vocabulary, and is read back as it was. The tokens 0 to 3
are padding, the beginning, the end, and the unknown (which bytes leave no use for).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limbeck.core.config import Count, configurable
from limbeck.errors import LimbeckError

PAD, BEGIN, END = 0, 1, 2
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
# bytes and what is special
LEAST = 256 + len(SPECIAL)
FILE = "tokenizer.json"


class Tokens:
    """A vocabulary with the rules by which sentences become its tokens.

    Attributes:
        pieces: what each token stands for, by its number.
        fingerprint: SHA-256 of all of it, hexadecimal.

    Args:
        rules: of the tokenizers library.
    """

    def __init__(self, rules: Any) -> None:
        self._rules = rules
        self.text: str = rules.to_str()
        self.fingerprint = hashlib.sha256(self.text.encode()).hexdigest()
        numbers: dict[str, int] = rules.get_vocab()
        self.pieces = tuple(sorted(numbers, key=numbers.__getitem__))

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return each sentence's tokens, without beginning and end."""
        with _alone():
            return [one.ids for one in self._rules.encode_batch(list(sentences), add_special_tokens=False)]

    def decode(self, tokens: Iterable[Sequence[int]]) -> list[str]:
        """Return the sentences of tokens; those that are special say nothing."""
        with _alone():
            found = self._rules.decode_batch([list(one) for one in tokens], skip_special_tokens=True)
        return [sentence.strip() for sentence in found]


@configurable
class TokenizerChoice:
    """How sentences are cut into tokens, by byte pair encoding with one vocabulary for both languages.

    Attributes:
        vocabulary: at most so many tokens, learned from the training text.
        file: a tokenizer.json, such as that in an earlier run's folder, in place of learning one.
    """

    vocabulary: Count = 10000
    file: str | None = None

    def __post_init__(self) -> None:
        if self.file is not None and self.vocabulary != 10000:
            raise ValueError("a file knows its own vocabulary: leave this out, or the file")
        if self.vocabulary < LEAST:
            raise ValueError(f"a vocabulary has at least {LEAST} tokens, of which 256 are bytes: raise it")

    def tokens(self, sentences: Sequence[str]) -> Tokens:
        """Learn the vocabulary from sentences, or read it.

        Raises:
            LimbeckError: the library is missing; the file is missing, or is no tokenizer of this kind of ours.
        """
        require_tokenizers()
        return _learned(self.vocabulary, sentences) if self.file is None else _read(Path(self.file))


def require_tokenizers() -> None:
    """Check that the library of vocabularies is there.

    Raises:
        LimbeckError: it is not.
    """
    if find_spec("tokenizers") is None:
        raise LimbeckError("translation needs tokenizers, which is not installed: pip install 'limbeck[translation]'")


def _learned(vocabulary: int, sentences: Sequence[str]) -> Tokens:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # a unigram vocabulary is not the same each time that the library learns it, and a run would not know its own
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    rules.decoder = decoders.ByteLevel()
    with _alone():
        rules.train_from_iterator(sentences, trainer)
    return Tokens(rules)


def _read(path: Path) -> Tokens:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise LimbeckError(f"there is no tokenizer file {path}: a run's folder has one, {FILE}")
    try:
        text = path.read_text(encoding="utf-8")
        kind = json.loads(text)["model"]["type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LimbeckError(f"{path} is no tokenizer of the tokenizers library, or a damaged one") from error
    if kind not in {"BPE", "Unigram"}:
        raise LimbeckError(f"{path} is a tokenizer of kind {kind}: give one of kind BPE or Unigram")
    rules = Tokenizer.from_str(text)
    tokens = Tokens(rules)
    if tokens.pieces[: len(SPECIAL)] != SPECIAL:
        raise LimbeckError(f"{path} is another library's tokenizer: its first tokens must be {', '.join(SPECIAL)}")
    return tokens


@contextmanager
def _alone() -> Iterator[None]:
    """Keep the library to one thread: the order in which threads add up would be another one each time."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
