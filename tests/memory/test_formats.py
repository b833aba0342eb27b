"""What each format keeps of a row, against plain lists."""

import pytest
import torch

from limbeck.core import LimbeckError
from limbeck.memory import Dense, TopK
from limbeck.memory.formats import format_of

CLASSES = [2, 10, 1000]


def rows(classes, scale):
    generator = torch.Generator().manual_seed(classes)
    return (scale * torch.randn(200, classes, generator=generator)).softmax(1)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 100.0])
def test_float32_is_exact_and_float16_within_its_bound(classes, scale):
    said = rows(classes, scale)
    assert torch.equal(Dense().decode(Dense().encode(said), classes), said)
    half = Dense("float16")
    (kept,) = half.encode(said)
    assert kept.dtype == torch.float16
    back = half.decode((kept,), classes)
    assert back.dtype == torch.float32
    assert (back - said).abs().max() <= 2.5e-4 + 3.1e-8 * classes
    large = said >= 6.2e-5
    assert ((back - said).abs()[large] / said[large]).max() <= 1e-3
    torch.testing.assert_close(back.sum(1), torch.ones(200), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (10, 1), (10, 4), (10, 9), (1000, 10)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_the_largest_are_kept_and_the_rest_is_even(classes, k, dtype, scale):
    said, format = rows(classes, scale), TopK(k, dtype)
    back = format.decode(format.encode(said), classes).tolist()
    bound = 1e-6 if dtype == "float32" else 5e-4
    for before, after in zip(said.tolist(), back, strict=True):
        order = sorted(range(classes), key=lambda i: -before[i])
        kept, others = order[:k], order[k:]
        assert all(abs(after[i] - before[i]) <= bound for i in kept)
        rest = (1 - sum(before[i] for i in kept)) / len(others)
        assert all(abs(after[i] - rest) <= 2 * bound for i in others)
        assert min(after) >= 0
        assert sum(after) == pytest.approx(1, abs=1e-5)


def test_bytes_and_columns():
    assert Dense().row_bytes(1000) == 4000
    assert Dense("float16").row_bytes(1000) == 2000
    assert TopK(10).row_bytes(1000) == 60
    assert TopK(10, "float16").row_bytes(32767) == 40
    assert TopK(10, "float16").row_bytes(32768) == 60
    assert TopK(10).columns(40000)[1] == (10, torch.int32)
    for format, width in ((TopK(2), 40000), (TopK(2), 5)):
        kept = format.encode(torch.rand(3, width))
        assert [(part.shape[1], part.dtype) for part in kept] == format.columns(width)
    said = torch.zeros(1, 40000)
    said[0, 39999] = 1.0
    assert torch.equal(TopK(2).decode(TopK(2).encode(said), 40000), said)


def test_a_k_that_keeps_all_is_refused():
    with pytest.raises(LimbeckError, match="top_k is 10 and there are 10 classes"):
        TopK(10).columns(10)


def test_a_recipes_fields_name_a_format():
    assert format_of("float16", None) == Dense("float16")
    assert format_of("float32", 3) == TopK(3)
    assert [str(one) for one in (Dense(), TopK(3, "float16"))] == ["float32", "the top 3 in float16"]
