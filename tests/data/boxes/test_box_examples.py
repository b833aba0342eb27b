"""Pictures with boxes in batches: sizes, canvases, processes, resuming, and evaluation in order."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data.boxes.load import BoxData
from limbeck.data.boxes.sizing import Sizing
from limbeck.data.boxes.sources import VOC
from limbeck.data.boxes.views import BoxFlip, IoUCrop, Photometric, Rescale, ZoomOut
from limbeck.data.examples import Examples
from limbeck.errors import LimbeckError

ALL = (Photometric(), ZoomOut(2.0), IoUCrop(), BoxFlip(), Rescale(sides=(33, 40, 50)))
KINDS = [(), (BoxFlip(), ZoomOut(2.0)), ALL]


@pytest.fixture
def load(voc):
    def make(root=None, **fields):
        fields = {"workers": 0, "shorter": 40, "longer": 90} | fields
        return BoxData(VOC(root=str(root or voc())), **fields).load("cpu")

    return make


def filed(rounds):
    """What is said of each picture, by its id, and the canvas of each step."""
    found, canvases = {}, []
    for parts, _ in rounds:
        canvases.append({view.images.shape[1:] for batch in parts for view in batch.views})
        for batch in parts:
            assert batch.labels.tolist() == [0] * len(batch.ids)
            for number, view in enumerate(batch.views):
                ends = np.cumsum([0, *view.counts]).tolist()
                assert ends[-1] == len(view.boxes) == len(view.classes)
                for row, example in enumerate(batch.ids.tolist()):
                    mine = slice(ends[row], ends[row + 1])
                    assert (example, number) not in found
                    size, word = view.sizes[row], view.words[row]
                    found[example, number] = view.images[row], view.boxes[mine], view.classes[mine], size, word
    return found, canvases


def equal(one, two):
    """Whether the same is said of the same pictures, to the bit."""
    assert one.keys() == two.keys()
    return all(
        all(torch.equal(first, second) for first, second in zip(one[key][:3], two[key][:3], strict=True))
        and one[key][3:] == two[key][3:]
        for key in one
    )


def size_by_hand(height, width, shorter, longer):
    """The shorter side is `shorter`, unless the longer one would be above `longer`."""
    scale = min(Fraction(shorter, min(height, width)), Fraction(longer, max(height, width)))
    return [max(1, int(side * scale + Fraction(1, 2))) for side in (height, width)]


def test_sizes_are_those_of_the_rule():
    generator = np.random.default_rng(0)
    read = np.concatenate([generator.integers(1, 900, (500, 2)), [[480, 640], [1, 5000], [300, 400], [800, 1333]]])
    for shorter, longer in [(300, 400), (800, 1333), (7, 7), (31, 1000)]:
        found = Sizing(shorter, longer, square=False).sizes(read)
        assert found.tolist() == [size_by_hand(*one, shorter, longer) for one in read.tolist()]
    assert Sizing(9, 20, square=True).sizes(read).tolist() == [[9, 9]] * len(read)


def test_they_are_examples(load):
    splits = load()
    train = splits.train
    assert isinstance(train, Examples)
    assert (train.count, train.id_space, train.steps(4), train.shape) == (11, 11, 3, (3, 96, 96))
    assert train.classes == ("background", "blue", "green", "red")
    assert train.ids.tolist() == list(range(11))
    assert train.labels.tolist() == [0] * 11
    assert load(square=True, longer=1333).train.shape == (3, 64, 64)


def test_the_truth_is_in_pixels_as_read(load, drawn):
    test = load().test
    assert test.names == ("a", "b", "empty", "c")
    assert test.sizes.tolist() == [[40, 60], [64, 30], [50, 50], [36, 100]]
    assert test.truth.ids.tolist() == [0, 1, 2, 3]
    assert test.truth.pictures.tolist() == [0, 0, 1, 3, 3]
    assert test.truth.boxes.tolist() == [list(map(float, box)) for one in drawn[1][:4] for _, box, _ in one.things]
    assert [test.classes[label] for label in test.truth.classes] == ["red", "green", "blue", "red", "red"]
    assert test.truth.ignored.tolist() == [False, False, False, True, False]


def test_pixels_are_normalised_and_put_in_the_corner(load, voc):
    root = voc()
    test = load(root, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)).test
    seen = filed((((batch,), 0)) for batch in test.in_order(4))[0]
    # this one keeps its size, so nothing is resampled
    image, boxes, classes, size, _ = seen[0, 0]
    pixels = np.asarray(Image.open(root / "JPEGImages/a.png"))
    assert torch.equal(test.picture(0), torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    assert (tuple(image.shape), size) == ((3, 64, 64), (40, 60))
    for row in range(64):
        for column in range(64):
            for channel, (mean, std) in enumerate([(0.5, 0.2), (0.4, 0.3), (0.3, 0.4)]):
                inside = row < 40 and column < 60
                wanted = (pixels[row, column, channel] / 255 - mean) / std if inside else 0.0
                assert abs(float(image[channel, row, column]) - wanted) < 1e-5
    assert boxes.tolist() == [[5, 10, 25, 30], [30, 12, 50, 36]]
    assert classes.tolist() == [3, 2]
    # 36 by 100 pixels: the longer side decides; what is difficult is not learned
    image, boxes, _, size, _ = seen[3, 0]
    assert size == (32, 90)
    assert torch.allclose(boxes, torch.tensor([[0, 0, 20 * 0.9, 32]]))


@pytest.mark.parametrize("views", KINDS, ids=lambda views: "+".join(view.name for view in views) or "none")
@pytest.mark.parametrize("square", [False, True])
def test_boxes_frame_their_colours_in_every_batch(load, views, square):
    longer = 1333 if square else 90
    # colours as they are, so that they can be found
    views = tuple(ZoomOut(2.0, fill=(0.0, 0.0, 0.0)) if isinstance(view, ZoomOut) else view for view in views)
    views = tuple(view for view in views if not isinstance(view, Photometric))
    train = load(views=views, square=square, longer=longer, mean=(0.0,) * 3, std=(1.0,) * 3).train
    # blue, green and red are the classes 1, 2 and 3, and the channels 2, 1 and 0
    found = 0
    for epoch in range(4):
        for (example, _), (image, boxes, classes, size, _) in filed(train.epoch(epoch, batch_size=5, seed=2))[
            0
        ].items():
            assert (image[:, size[0] :] == 0).all()
            assert (image[:, :, size[1] :] == 0).all()
            if example == train.names.index("c"):
                continue  # both of its rectangles are red
            for box, label in zip(boxes.tolist(), classes.tolist(), strict=True):
                colour = image[3 - label].numpy() > 0.5
                rows, columns = np.flatnonzero(colour.any(1)), np.flatnonzero(colour.any(0))
                frame = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                assert np.abs(np.array(frame) - box).max() <= 1.0
                found += 1
    assert found > 30


@pytest.mark.parametrize("views", KINDS, ids=lambda views: "+".join(view.name for view in views) or "none")
def test_processes_and_micro_batches_see_the_same(load, views):
    train = load(views=views).train
    plan = {"batch_size": 6, "seed": 5, "views": 2}
    whole, canvases = filed(train.epoch(1, **plan))
    assert len(whole) == 22
    for world, parts in [(1, 2), (2, 1), (2, 2)]:
        cut = [filed(train.epoch(1, **plan, rank=rank, world=world, parts=parts)) for rank in range(world)]
        assert equal(whole, {key: one for mine, _ in cut for key, one in mine.items()})
        assert all(one == canvases for _, one in cut)
    for canvas in canvases:
        ((channels, height, width),) = canvas
        assert (channels, height % 32, width % 32) == (3, 0, 0)


def test_a_canvas_is_as_small_as_a_batch_allows(load):
    train = load(views=(ZoomOut(),)).train
    for (batch,), _ in train.epoch(0, batch_size=2, seed=0):
        view = batch.views[0]
        for side, sizes in zip(view.images.shape[2:], zip(*view.sizes, strict=True), strict=True):
            assert side == -(-max(sizes) // 32) * 32
        sizes = [size_by_hand(*train.sizes[example], 40, 90) for example in batch.ids.tolist()]
        assert [list(size) for size in view.sizes] == sizes


def test_a_canvas_allows_for_the_largest_of_random_sizes(load):
    seen = set()
    for epoch in range(3):
        for (batch,), _ in load(views=(Rescale(sides=(20, 70)),)).train.epoch(epoch, batch_size=3, seed=0):
            assert batch.views[0].images.shape[2] >= 64
            seen |= {min(size) for size in batch.views[0].sizes}
    assert {20, 70} <= seen


def test_views_and_epochs_and_seeds_differ(load):
    train = load(views=ALL).train
    first, _ = filed(train.epoch(0, batch_size=4, seed=0, views=2))
    again, _ = filed(train.epoch(0, batch_size=4, seed=0, views=2))
    assert equal(first, again)
    words = {one[4] for one in first.values()}
    assert len(words) == 22
    for epoch, seed in [(1, 0), (0, 1)]:
        other, _ = filed(train.epoch(epoch, batch_size=4, seed=seed, views=2))
        assert not equal(first, other)
        assert not words & {one[4] for one in other.values()}
    assert not equal({(i, 0): first[i, 0] for i in range(11)}, {(i, 0): first[i, 1] for i in range(11)})


def test_global_random_numbers_are_left_alone(load):
    train = load(views=ALL).train
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    filed(train.epoch(0, batch_size=4, seed=0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_an_epoch_goes_on_where_it_was_left(load):
    train = load(views=ALL).train
    rounds = list(train.epoch(2, batch_size=3, seed=1, parts=2))
    assert len(rounds) == 4
    assert [total for _, total in rounds] == [3, 3, 3, 2]
    for start in range(5):
        left = list(train.epoch(2, batch_size=3, seed=1, parts=2, start=start))
        assert [total for _, total in left] == [total for _, total in rounds[start:]]
        assert equal(filed(rounds[start:])[0], filed(left)[0])
    with pytest.raises(LimbeckError, match="can't resume at step 5"):
        train.epoch(2, batch_size=3, seed=1, start=5)


def test_workers_read_the_same(load):
    here, there = (load(views=ALL, workers=workers).train for workers in (0, 2))
    for epoch in range(2):
        one, two = (filed(train.epoch(epoch, batch_size=4, seed=0, views=2)) for train in (here, there))
        assert equal(one[0], two[0])
        assert one[1] == two[1]


def test_pictures_in_order_do_not_know_their_neighbours(load):
    train = load(views=ALL).train
    alone, _ = filed((((batch,), 1)) for batch in train.in_order(1))
    assert len(alone) == 11
    for batch_size, world in [(3, 1), (4, 2), (20, 3)]:
        batches = [list(train.in_order(batch_size, rank, world)) for rank in range(world)]
        order = [example for mine in batches for batch in mine for example in batch.ids.tolist()]
        assert order == list(range(11))
        assert equal(alone, filed((((batch,), 1)) for mine in batches for batch in mine)[0])
        assert max(len(batch.ids) for mine in batches for batch in mine) <= batch_size
    for image, _, _, size, _ in alone.values():
        assert list(image.shape[1:]) == [-(-side // 32) * 32 for side in size]
    assert sum(len(list(train.in_order(5, rank, 20))) for rank in range(20)) == 11


def test_pictures_of_one_canvas_are_together(load, drawn):
    train = load().train
    canvases = [batch.views[0].images.shape[2:] for batch in train.in_order(20)]
    assert all(one != two for one, two in pairwise(canvases))
    assert len(canvases) < 11


def test_a_picture_without_objects_is_taught_as_background(load):
    seen, _ = filed(load().train.epoch(0, batch_size=11, seed=0))
    assert seen[2, 0][1].shape == (0, 4)
    assert seen[2, 0][2].shape == (0,)


def test_what_pictures_have_none_of_is_refused(load):
    train = load().train
    for wish in ({"siblings": True}, {"shards": (0, 1), "world": 2}):
        with pytest.raises(LimbeckError, match="no class and no shards"):
            train.epoch(0, batch_size=4, seed=0, **wish)
    with pytest.raises(LimbeckError, match="larger than the 11"):
        train.epoch(0, batch_size=12, seed=0)
    with pytest.raises(LimbeckError, match="can't serve 2 process"):
        train.epoch(0, batch_size=4, seed=0, world=2, parts=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_named(load, voc, drawn, workers):
    root = voc(suffix=".jpg")
    path = root / "JPEGImages" / "d.jpg"
    whole = path.read_bytes()
    train = load(root, workers=workers).train
    for content, part in [(whole[:300], "not a readable image"), (b"", "not a readable image"), (None, "60x40 pixels")]:
        path.write_bytes((root / "JPEGImages" / "a.jpg").read_bytes() if content is None else content)
        for read in (lambda: train.epoch(0, batch_size=11, seed=0), lambda: train.in_order(4)):
            with pytest.raises(LimbeckError, match=part) as caught:
                list(read())
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
    assert "d.xml says 48x48" in str(caught.value)
    path.write_bytes(whole)
    assert len(list(train.in_order(1))) == 11


def test_the_fingerprint_knows_what_the_examples_are(load, voc, drawn):
    root = voc()
    kinds = [{}, {"shorter": 41}, {"longer": 91}, {"square": True, "longer": 1333}, {"examples": 9}]
    prints = {load(root, **fields).train.fingerprint for fields in kinds}
    assert len(prints) == len(kinds)
    assert load(root, workers=2, views=()).train.fingerprint == load(root).train.fingerprint
    path = root / "Annotations" / "d.xml"
    path.write_text(path.read_text().replace("<xmin>9", "<xmin>8"))
    assert load(root).train.fingerprint not in prints
