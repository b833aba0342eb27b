"""Beam search against every translation there is."""

import itertools
import math

import pytest
import torch

from limbeck.tasks.beams import search

BEGIN, END, WORDS = 1, 2, (2, 3, 4)


def table(seed):
    """Return log probabilities of the next token given the last two, never of 0 and 1 alone."""
    logits = torch.randn(5, 5, 5, generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(-1)


def ask_of(tables):
    def ask(beginnings, of):
        last = beginnings[:, -1]
        before = beginnings[:, -2] if beginnings.shape[1] > 1 else torch.zeros_like(last)
        return torch.stack(
            [tables[i][b, a] for i, b, a in zip(of.tolist(), before.tolist(), last.tolist(), strict=True)]
        )

    return ask


def every(log_p, most, penalty):
    """Return the score of every translation of at most so many tokens, by its tokens."""
    found = {}
    for length in range(1, most + 1):
        for words in itertools.product((3, 4), repeat=length - 1):
            tokens, before, last, total = (*words, END), 0, BEGIN, 0.0
            for token in tokens:
                total += float(log_p[before, last, token])
                before, last = last, token
            found[tokens] = total / math.pow(length, penalty)
    return found


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 1.5])
def test_wide_beams_find_the_best_of_all_translations(penalty):
    tables, most = [table(seed) for seed in range(6)], [1, 2, 3, 4, 5, 5]
    found = search(ask_of(tables), torch.tensor(most), beams=40, penalty=penalty, begin=BEGIN, end=END, never=(0, 1))
    for log_p, limit, tokens, scores in zip(tables, most, found.tokens, found.scores, strict=True):
        naive = sorted(every(log_p, limit, penalty).items(), key=lambda one: -one[1])
        for (words, score), row, value in zip(naive, tokens.tolist(), scores.tolist(), strict=False):
            assert value == pytest.approx(score, abs=1e-5)
            assert tuple(row[: len(words)]) == words
            assert not any(row[len(words) :])
        assert all(score == -math.inf for score in scores.tolist()[len(naive) :])


def test_one_beam_takes_the_most_probable_token_each_time():
    log_p = table(3)
    before, last, words = 0, BEGIN, []
    while not words or (words[-1] != END and len(words) < 6):
        options = WORDS if len(words) < 5 else (END,)
        token = max(options, key=lambda one: float(log_p[before, last, one]))
        before, last = last, token
        words.append(token)
    found = search(ask_of([log_p]), torch.tensor([6]), beams=1, penalty=0.0, begin=BEGIN, end=END, never=(0, 1))
    greedy = sum(1 for token in found.tokens[0, 0].tolist() if token)
    # a beam of one may also keep an earlier end, if that scored higher
    assert found.tokens[0, 0].tolist()[:greedy] == words[:greedy] or found.tokens[0, 0].tolist()[greedy - 1] == END


def test_sentences_do_not_change_each_other():
    tables = [table(seed) for seed in range(4)]
    together = search(ask_of(tables), torch.tensor([5] * 4), beams=3, penalty=1.0, begin=BEGIN, end=END, never=(0, 1))
    for i, one in enumerate(tables):
        alone = search(ask_of([one]), torch.tensor([5]), beams=3, penalty=1.0, begin=BEGIN, end=END, never=(0, 1))
        assert alone.tokens[0, 0].tolist() == together.tokens[i, 0].tolist()
