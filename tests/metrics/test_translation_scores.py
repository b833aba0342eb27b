"""BLEU and chrF: what sacreBLEU says against the formula, languages, and what is missing."""

import math
import sys
from collections import Counter

import pytest

from limbeck.errors import LimbeckError
from limbeck.metrics.figures import figure
from limbeck.metrics.translation import bleu, chrf, words_of

SAID = ["the cat sat on the mat today", "a dog runs in the big park", "two men are here"]
RIGHT = ["the cat sat on the mat", "a brown dog runs in the park now", "two men are standing here"]


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def test_bleu_is_the_formula():
    logs, said, right = [], sum(len(s.split()) for s in SAID), sum(len(r.split()) for r in RIGHT)
    for n in (1, 2, 3, 4):
        matched = total = 0
        for one, reference in zip(SAID, RIGHT, strict=True):
            ours, theirs = grams(one.split(), n), grams(reference.split(), n)
            matched += sum(min(count, theirs[gram]) for gram, count in ours.items())
            total += sum(ours.values())
        logs.append(math.log(matched / total))
    brief = min(1.0, math.exp(1 - right / said))
    found = bleu(SAID, RIGHT, "en")
    assert found.value == pytest.approx(brief * math.exp(sum(logs) / 4), rel=1e-6)
    assert "tok:13a" in found.signature
    assert "case:mixed" in found.signature


def test_scores_are_shares_and_the_larger_is_the_better():
    assert bleu(RIGHT, RIGHT, "en").value == pytest.approx(1.0)
    assert chrf(RIGHT, RIGHT).value == pytest.approx(1.0)
    assert 0 < chrf(SAID, RIGHT).value < 1
    assert not figure("bleu").lower_is_better
    assert figure("bleu").show(0.3123) == "31.23"


@pytest.mark.parametrize(("language", "words"), [("de", "13a"), ("zh", "zh"), ("zh-Hans", "zh"), ("ja", "char")])
def test_languages_have_their_words(language, words):
    assert words_of(language) == words


def test_an_unknown_language_is_one_line():
    with pytest.raises(LimbeckError) as refused:
        bleu(SAID, RIGHT, "german")
    assert str(refused.value).startswith("the language code 'german' is unknown, and BLEU could not tell")


def test_as_many_translations_as_sentences():
    with pytest.raises(LimbeckError, match="there are 3 translations of 2 sentences: give as many"):
        bleu(SAID, RIGHT[:2], "en")


def test_without_sacrebleu_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(LimbeckError) as refused:
        chrf(SAID, RIGHT)
    assert str(refused.value) == "BLEU needs sacrebleu, which is not installed: pip install 'limbeck[translation]'"
