"""How good a translation is: BLEU and chrF by sacreBLEU, with their signatures. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from limbeck.errors import LimbeckError

# ISO 639-1
_ISO = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj
kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv
ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_CODES = frozenset(_ISO.split())
# Languages that BLEU cuts into words otherwise.
_WORDS = {"zh": "zh", "ja": "char", "ko": "char", "th": "char"}


class Score(NamedTuple):
    """A figure with what it means.

    Attributes:
        value: in [0, 1].
        signature: sacreBLEU's, which says how it was reckoned.
    """

    value: float
    signature: str


def words_of(language: str) -> str:
    """Return how BLEU cuts a language into words: sacreBLEU's 13a, or another where that is none.

    Japanese, Korean and Thai are cut into characters, since cutting them into words takes programs of their own.

    Raises:
        LimbeckError: it is no code of ISO 639-1.
    """
    code = language.partition("-")[0].partition("_")[0]
    if code not in _CODES:
        raise LimbeckError(
            f"the language code {language!r} is unknown, and BLEU could not tell how to cut it into words: name it by "
            "ISO 639-1, such as de, en or zh"
        )
    return _WORDS.get(code, "13a")


def bleu(translations: Sequence[str], references: Sequence[str], language: str) -> Score:
    """Return the corpus BLEU of translations with one reference each, case kept.

    Args:
        translations: as plain text.
        references: as many.
        language: code of theirs.

    Raises:
        LimbeckError: sacreBLEU is missing; an unknown language; there is nothing, or not as many.
    """
    require_sacrebleu()
    _check(translations, references)
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=words_of(language))
    value = metric.corpus_score(list(translations), [list(references)]).score / 100
    return Score(value, str(metric.get_signature()))


def chrf(translations: Sequence[str], references: Sequence[str]) -> Score:
    """Return the corpus chrF2, by characters; arguments and errors as of `bleu`."""
    require_sacrebleu()
    _check(translations, references)
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    value = metric.corpus_score(list(translations), [list(references)]).score / 100
    return Score(value, str(metric.get_signature()))


def require_sacrebleu() -> None:
    """Check that the library of the scores is there.

    Raises:
        LimbeckError: it is not.
    """
    if find_spec("sacrebleu") is None:
        raise LimbeckError("BLEU needs sacrebleu, which is not installed: pip install 'limbeck[translation]'")


def _check(translations: Sequence[str], references: Sequence[str]) -> None:
    if not references or len(translations) != len(references):
        raise LimbeckError(f"there are {len(translations)} translations of {len(references)} sentences: give as many")
