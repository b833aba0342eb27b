"""Aligned sentences: read, refused with one line, cut into tokens, and batched by tokens."""

import gzip

import numpy as np
import pytest

from limbeck.data.examples import Examples
from limbeck.data.text.load import TextData
from limbeck.data.text.sources import Multi30k, TextFiles
from limbeck.data.text.tokens import BEGIN, END, PAD, TokenizerChoice
from limbeck.errors import LimbeckError

FIRST = [
    "ein hund rennt.",
    "zwei katzen schlafen im garten.",
    "ein mann liest.",
    "hallo.",
    "die frau kocht eine suppe.",
]
LONG = "".join("abcdefghijklmnopqrstuvwxyz"[i * i * 7 % 26 - i % 5] for i in range(600))
SECOND = ["a dog runs.", "two cats sleep in the garden.", "a man reads.", "hello.", "the woman cooks a soup."]


@pytest.fixture
def root(tmp_path):
    for split, times in {"train": 8, "valid": 1, "test": 1}.items():
        (tmp_path / f"{split}.de").write_text("".join(f"{line}\n" for line in FIRST * times))
        with gzip.open(tmp_path / f"{split}.en.gz", "wt") as file:
            file.write("\n".join(SECOND * times))
    return tmp_path


def data(root, **fields):
    source = TextFiles(source="de", target="en", root=str(root))
    return TextData(source=source, tokenizer=TokenizerChoice(vocabulary=280), **fields)


def test_tokens_read_back_as_the_text(root):
    splits = data(root).load("cpu")
    assert isinstance(splits.train, Examples)
    assert (splits.train.count, splits.validation.count, splits.test.count) == (40, 5, 5)
    tokens = splits.train.tokens
    odd = ["Ein Mädchen — 3,5 €?", "日本", "two  spaces"]
    assert tokens.decode(tokens.encode(odd)) == odd
    assert tokens.pieces[:3] == ("<pad>", "<s>", "</s>")
    assert len(tokens.pieces) <= 280


def test_whether_the_files_are_there_is_known_without_learning_a_vocabulary(root, monkeypatch):
    monkeypatch.setattr(TokenizerChoice, "tokens", lambda *arguments: pytest.fail("learned"))
    assert data(root).known_classes() is None
    (root / "valid.de").unlink()
    with pytest.raises(LimbeckError, match="valid.de"):
        data(root).known_classes()


def test_the_same_text_gives_the_same_vocabulary():
    choice = TokenizerChoice(vocabulary=280)
    first, second = (choice.tokens(FIRST + SECOND) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.decode(first.encode(SECOND)) == SECOND


def test_a_batch_is_the_sentences_shifted_by_one(root):
    train = data(root).load("cpu").train
    (parts, total), *_ = train.epoch(0, batch_size=80, seed=3)
    (batch,) = parts
    source, target, places = batch.views[0]
    rows = target.shape[0]
    flat = train.tokens.encode(SECOND * 8)
    starts = np.cumsum([0, *(len(one) + 1 for one in flat)])
    seen = 0
    for row in range(rows):
        first = int(batch.ids[seen])
        sentence = int(np.searchsorted(starts, first))
        assert starts[sentence] == first
        wanted = [*flat[sentence], END]
        length = len(wanted)
        assert batch.labels[seen : seen + length].tolist() == wanted
        assert batch.ids[seen : seen + length].tolist() == list(range(first, first + length))
        assert target[row, :length].tolist() == [BEGIN, *wanted[:-1]]
        assert places[seen : seen + length].tolist() == [row * target.shape[1] + i for i in range(length)]
        words = [*train.tokens.encode([(FIRST * 8)[sentence]])[0], END]
        assert source[row].tolist() == words + [PAD] * (source.shape[1] - len(words))
        seen += length
    assert seen == total == len(batch.labels)


def test_an_epoch_has_each_token_once_in_batches_of_about_as_many(root):
    train = data(root).load("cpu").train
    longest = int(train.lengths[1].max())
    for epoch in (0, 1):
        rounds = list(train.epoch(epoch, batch_size=60, seed=3))
        assert len(rounds) == train.steps(60) == -(-train.id_space // 60)
        ids = np.concatenate([part.ids.numpy() for one in rounds for part in one.parts])
        assert sorted(ids) == list(range(train.id_space))
        assert max(one.total for one in rounds) <= 60 + longest
    orders = [[one.parts[0].ids.tolist() for one in train.epoch(epoch, batch_size=60, seed=3)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][2:] == [one.parts[0].ids.tolist() for one in train.epoch(0, batch_size=60, seed=3, start=2)]


def test_processes_and_micro_batches_share_a_batch(root):
    train = data(root).load("cpu").train
    whole = [sorted(one.parts[0].ids.tolist()) for one in train.epoch(0, batch_size=120, seed=3)]
    shares = [list(train.epoch(0, batch_size=120, seed=3, rank=rank, world=2, parts=2)) for rank in (0, 1)]
    for ids, one, other in zip(whole, *shares, strict=True):
        assert sorted(i for share in (one, other) for part in share.parts for i in part.ids.tolist()) == ids
        assert one.total == other.total == len(ids)
    with pytest.raises(LimbeckError, match=r"a batch of 30 target tokens has \d long sentence\(s\) and can't serve 4"):
        train.epoch(0, batch_size=30, seed=3, world=4)


def test_the_order_of_evaluation_is_that_of_the_files(root):
    test = data(root).load("cpu").test
    ids = [part.ids.tolist() for rank in (0, 1) for part in test.in_order(2, rank, 2)]
    assert [i for part in ids for i in part] == list(range(test.id_space))


def spoil(root, name, text):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "test.de",
            "eins\nzwei\n",
            "test.de has 2 lines and ROOT/test.en.gz has 5: aligned files have as many, the same",
        ),
        (
            "train.de",
            "eins\n\n" + "zwei\n" * 38,
            "line 2 of ROOT/train.de is empty: remove the pair from both files, or",
        ),
        ("test.de", "a\n\n\nb\nc\n", "line 2 of ROOT/test.de is empty (and 1 more): remove the pair from both files"),
        (
            "train.de",
            LONG + "\n" + "zwei\n" * 39,
            " tokens with its end, more than data.longest 128: remove the pair from both files, or set",
        ),
        ("valid.de", b"\xff\xfe\n" * 5, "ROOT/valid.de is no text in UTF-8: "),
        ("train.en.gz", b"no gzip", "ROOT/train.en.gz cannot be read: "),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(root, name, content, said):
    spoil(root, name, content)
    with pytest.raises(LimbeckError) as refused:
        data(root).load("cpu")
    line = str(refused.value).replace(str(root), "ROOT")
    assert said in line
    assert "\n" not in line


def test_bad_pairs_can_be_left_out_of_training_alone(root):
    spoil(root, "train.de", "eins\n\n" + LONG + "\n" + "zwei\n" * 37)
    assert data(root, drop=True).load("cpu").train.count == 38
    spoil(root, "test.de", "a\n\nb\nc\nd\n")
    with pytest.raises(LimbeckError, match="is empty: remove the pair"):
        data(root, drop=True).load("cpu")


def test_missing_files_are_named(root):
    with pytest.raises(
        LimbeckError, match=r"there is no text file \S+/train.de \(or train.de.gz\): set data.source.root"
    ):
        TextData(source=Multi30k(root=str(root / "nowhere"))).load("cpu")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no tokenizer of the tokenizers library, or a damaged one"),
        ('{"model": {"type": "WordPiece"}}', "is a tokenizer of kind WordPiece: give one of kind BPE or Unigram"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path, content, said):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(LimbeckError) as refused:
        TokenizerChoice(file=str(path)).tokens([])
    assert str(refused.value) == f"{path} {said}"


def test_multi30k_is_read_where_it_is(shared_data, tmp_path):
    import subprocess
    import sys

    subprocess.run([sys.executable, shared_data / "unpack.py", tmp_path, "multi30k"], check=True, capture_output=True)
    source = Multi30k(root=str(tmp_path / "multi30k"))
    counts = [len(source.split(which).source) for which in ("train", "validation", "test")]
    assert counts == [29000, 1014, 1000]
