"""A teacher's answers on the disk: what a row says, and that no row says it before it is there."""

import json
import math

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.memory import answers as module
from limbeck.memory.answers import Answers
from limbeck.memory.logits import DenseLogits, TopLogits
from limbeck.memory.sizes import answers_layout

ROWS, CLASSES = 9, 7
ABOUT = {"teacher": "a" * 64, "view_seed": 3, "views": [{"name": "flip"}]}


def logits(rows=ROWS, classes=CLASSES, scale=5.0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(1)) * scale


def made(folder, format=DenseLogits(), cycle=2, **about):
    return Answers(folder, answers_layout(ROWS, CLASSES, cycle, format), ABOUT | about)


def written(answers, rows, said, epoch=0):
    answers.scatter(epoch, rows, answers.layout.format.encode(said[rows]))


def softmax(row, temperature=1.0):
    """Return the softmax of a row in float64, in plain Python."""
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def test_float32_rows_come_back_bit_by_bit():
    said, format = logits(), DenseLogits()
    assert torch.equal(format.decode(format.encode(said), CLASSES), said)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_float16_rows_are_within_half_a_unit(scale):
    said, format = logits(scale=scale), DenseLogits("float16")
    found = format.decode(format.encode(said), CLASSES)
    assert found.dtype == torch.float32
    for row, kept in zip(said.tolist(), found.tolist(), strict=True):
        for value, other in zip(row, kept, strict=True):
            assert abs(value - other) <= abs(value) * 2**-11 + 2**-25
    assert not torch.equal(found, said)


def test_float16_cuts_what_is_beyond_its_range():
    said = torch.tensor([[1e6, -1e6, 3.0]])
    format = DenseLogits("float16")
    assert format.decode(format.encode(said), 3).tolist() == [[65504.0, -65504.0, 3.0]]


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-6), ("float16", 2e-2)])
@pytest.mark.parametrize("k", [1, 3, CLASSES - 1])
def test_top_k_keeps_the_softmax(k, dtype, bound):
    said, format = logits(), TopLogits(k, dtype)
    found = format.decode(format.encode(said), CLASSES)
    for row, kept in zip(said.tolist(), found.tolist(), strict=True):
        whole, mine = softmax(row), softmax(kept)
        largest = sorted(range(CLASSES), key=lambda c: -row[c])[:k]
        rest = sum(whole[c] for c in range(CLASSES) if c not in largest) / (CLASSES - k)
        for c in range(CLASSES):
            expected = whole[c] if c in largest else rest
            assert mine[c] == pytest.approx(expected, rel=bound)


def test_at_a_higher_temperature_top_k_gives_the_others_no_less():
    said, format = logits(), TopLogits(3)
    found = format.decode(format.encode(said), CLASSES)
    for row, kept in zip(said.tolist(), found.tolist(), strict=True):
        largest = sorted(range(CLASSES), key=lambda c: -row[c])[:3]
        for temperature, sign in ((4.0, 1), (0.5, -1)):
            whole, mine = softmax(row, temperature), softmax(kept, temperature)
            others = [sum(one[c] for c in range(CLASSES) if c not in largest) for one in (whole, mine)]
            assert sign * (others[1] - others[0]) > 0
            first, second = largest[:2]
            assert mine[first] / mine[second] == pytest.approx(whole[first] / whole[second], rel=1e-4)


def test_top_k_of_all_classes_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match="top_k is 7 and there are 7 classes"):
        made(tmp_path, TopLogits(CLASSES))


@pytest.mark.parametrize("format", [DenseLogits(), DenseLogits("float16"), TopLogits(2, "float16")], ids=str)
def test_rows_are_there_after_a_commit_and_found_by_others(tmp_path, format):
    said, answers = logits(), made(tmp_path / "cache", format)
    rows = torch.tensor([4, 0, 7])
    written(answers, rows, said)
    answers.commit()
    other = made(tmp_path / "cache", format)
    assert other.missing(0, torch.arange(ROWS)).tolist() == [i not in (0, 4, 7) for i in range(ROWS)]
    found = format.decode(other.gather(0, rows), CLASSES)
    assert torch.equal(found, format.decode(format.encode(said[rows]), CLASSES))
    assert not other.complete(0)
    written(other, torch.arange(ROWS), said)
    other.commit()
    assert (other.complete(0), other.complete(1), answers.complete(0)) == (True, False, True)
    sizes = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.bin"))
    assert sizes == answers.layout.bytes


def test_a_row_that_is_there_is_not_written_again(tmp_path):
    said, answers = logits(), made(tmp_path)
    written(answers, torch.arange(3), said)
    answers.commit()
    written(answers, torch.arange(5), said + 1)
    answers.commit()
    found = answers.gather(0, torch.arange(5))[0]
    assert torch.equal(found, torch.cat((said[:3], said[3:5] + 1)))


def test_a_writer_that_dies_before_the_values_are_on_the_disk_has_said_nothing(tmp_path, monkeypatch):
    said, answers = logits(), made(tmp_path)
    written(answers, torch.arange(4), said)
    answers.commit()
    written(answers, torch.arange(4, 8), said)

    def dies(self):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(np.memmap, "flush", dies)
        with pytest.raises(RuntimeError, match="killed"):
            answers.commit()
    after = made(tmp_path)
    assert after.missing(0, torch.arange(ROWS)).tolist() == [False] * 4 + [True] * 5
    written(after, torch.arange(ROWS), said)
    after.commit()
    assert after.complete(0)
    assert torch.equal(after.gather(0, torch.arange(ROWS))[0], said)


def test_values_are_written_through_before_checksums(tmp_path, monkeypatch):
    order = []
    flush = np.memmap.flush
    monkeypatch.setattr(np.memmap, "flush", lambda self: (order.append(self.filename.name), flush(self)))
    answers = made(tmp_path, TopLogits(2))
    written(answers, torch.arange(3), logits())
    answers.commit()
    assert order == ["epoch-0-values.bin", "epoch-0-classes.bin", "epoch-0-checksums.bin"]


def test_many_rows_are_committed_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_BETWEEN_FLUSHES", 4)
    answers = made(tmp_path)
    written(answers, torch.arange(3), logits())
    assert made(tmp_path).missing(0, torch.arange(ROWS)).all()
    written(answers, torch.arange(3, 6), logits())
    assert made(tmp_path).missing(0, torch.arange(ROWS)).sum() == 3


def test_a_change_of_epoch_commits(tmp_path):
    answers = made(tmp_path)
    written(answers, torch.arange(ROWS), logits())
    written(answers, torch.arange(3), logits(), epoch=1)
    assert made(tmp_path).complete(0)


def test_files_of_a_writer_that_was_killed_before_its_header_are_made_anew(tmp_path):
    answers = made(tmp_path)
    answers.create()
    (tmp_path / "header.json").unlink()
    (tmp_path / "epoch-0-checksums.bin").write_bytes(b"\1" * 8 * ROWS)
    again = made(tmp_path)
    again.create()
    assert again.missing(0, torch.arange(ROWS)).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"teacher": "b" * 64}, "other teacher"),
        ({"view_seed": 4}, "view_seed: 3 there, 4 here"),
        ({"views": []}, "other views"),
        ({"cycle": 3}, "cycle: None there, 3 here"),
        ({"format": DenseLogits("float16")}, "format: float32 there, float16 here"),
    ],
)
def test_other_answers_are_refused_by_what_differs(tmp_path, change, expected):
    made(tmp_path).create()
    if "cycle" in change:
        with pytest.raises(LimbeckError, match=expected):
            Answers(tmp_path, answers_layout(ROWS, CLASSES, 3, DenseLogits()), {**ABOUT, "cycle": 3})
        return
    with pytest.raises(LimbeckError, match=expected) as error:
        made(tmp_path, **change)
    assert len(str(error.value).splitlines()) == 1


def test_another_header_written_meanwhile_is_refused(tmp_path):
    late = made(tmp_path)
    made(tmp_path, view_seed=9).create()
    with pytest.raises(LimbeckError, match="view_seed: 9 there, 3 here"):
        late.create()


def test_a_disk_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda *_: 500)
    with pytest.raises(LimbeckError, match="do not fit into .* where 500 bytes are free"):
        made(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_file_cut_short_is_refused(tmp_path):
    answers = made(tmp_path)
    answers.create()
    (tmp_path / "epoch-1-values.bin").write_bytes(b"0")
    with pytest.raises(LimbeckError, match=r"epoch-1-values.bin is gone or cut short"):
        made(tmp_path).complete(1)


def flipped(path, byte, bit=0):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("format", [DenseLogits(), DenseLogits("float16"), TopLogits(3, "float16")], ids=str)
def test_a_flipped_bit_is_refused_and_then_asked_for_again(tmp_path, format):
    said, answers = logits(), made(tmp_path, format)
    for epoch in range(2):
        written(answers, torch.arange(ROWS), said, epoch)
    answers.commit()
    assert made(tmp_path, format).forget_damaged() == 0
    for path in sorted(tmp_path.glob("epoch-1-*.bin")):
        sound = path.read_bytes()
        flipped(path, len(sound) // ROWS * 4 + 1, 6)
        reader = made(tmp_path, format)
        reader.gather(0, torch.arange(ROWS))
        reader.gather(1, torch.tensor([0, 1, 2, 3, 5, 6, 7, 8]))
        with pytest.raises(
            LimbeckError, match=r"is damaged in epoch 1, row 4: let `limbeck teacher record` ask"
        ) as told:
            reader.gather(1, torch.arange(ROWS))
        assert "\n" not in str(told.value)
        assert str(tmp_path) in str(told.value)
        # what is written elsewhere is not held against it, and who asks again mends it
        mending = made(tmp_path, format)
        assert mending.forget_damaged() == 1
        assert (mending.complete(0), mending.complete(1)) == (True, False)
        written(mending, torch.arange(ROWS), said, 1)
        mending.commit()
        assert path.read_bytes() == sound
        mending.gather(1, torch.arange(ROWS))


def test_rows_of_another_epoch_are_no_rows_of_this_one(tmp_path):
    answers = made(tmp_path)
    for epoch in range(2):
        written(answers, torch.arange(ROWS), logits() + epoch, epoch)
    answers.commit()
    for name in ("values", "checksums"):
        (tmp_path / f"epoch-1-{name}.bin").write_bytes((tmp_path / f"epoch-0-{name}.bin").read_bytes())
    with pytest.raises(LimbeckError, match="is damaged in epoch 1, row 0"):
        made(tmp_path).gather(1, torch.arange(ROWS))


def test_lost_pages_are_no_rows(tmp_path):
    answers = made(tmp_path)
    written(answers, torch.arange(ROWS), logits())
    answers.commit()
    (tmp_path / "epoch-0-values.bin").write_bytes(bytes(ROWS * CLASSES * 4))
    assert made(tmp_path).forget_damaged() == ROWS


def test_writers_of_the_same_rows_leave_the_rows_of_one(tmp_path):
    said, one, two = logits(), made(tmp_path), made(tmp_path)
    for answers, more in ((one, 0), (two, 1)):
        written(answers, torch.arange(6), said + more)
    one.commit()
    written(two, torch.arange(8), said + 2)
    two.commit()
    # written by both before either had said so, then by the second alone, then not at all
    found = made(tmp_path).gather(0, torch.arange(8))[0]
    assert torch.equal(found, torch.cat((said[:6] + 1, said[6:8] + 2)))
    assert made(tmp_path).forget_damaged() == 0


def test_a_disk_that_is_full_in_the_middle_has_recorded_nothing_wrong(tmp_path, monkeypatch):
    said, answers = logits(), made(tmp_path)
    written(answers, torch.arange(4), said)
    answers.commit()

    def full(self):
        raise OSError(28, "No space left on device")

    written(answers, torch.arange(4, 8), said)
    with monkeypatch.context() as patched:
        patched.setattr(np.memmap, "flush", full)
        with pytest.raises(LimbeckError, match=r"cannot write into .*: No space left on device") as told:
            answers.commit()
    assert "\n" not in str(told.value)
    assert made(tmp_path).missing(0, torch.arange(ROWS)).tolist() == [False] * 4 + [True] * 5
    answers.commit()
    assert made(tmp_path).missing(0, torch.arange(ROWS)).tolist() == [False] * 8 + [True]
    assert torch.equal(made(tmp_path).gather(0, torch.arange(8))[0], said[:8])


def test_replay_needs_no_right_to_write(tmp_path):
    said, answers = logits(), made(tmp_path)
    written(answers, torch.arange(ROWS), said)
    answers.commit()
    before = {path: path.read_bytes() for path in tmp_path.glob("*.bin")}
    reader = made(tmp_path)
    reader.gather(0, torch.arange(ROWS))
    assert reader._maps[0].mode == "c"
    assert {path: path.read_bytes() for path in before} == before


def test_the_header_says_what_the_answers_depend_on(tmp_path):
    made(tmp_path).create()
    header = json.loads((tmp_path / "header.json").read_text())
    assert header["teacher"] == "a" * 64
    assert header["format"] == "float32"
