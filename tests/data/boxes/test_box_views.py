"""Views of pictures with boxes: after each of them a box still frames what it framed."""

import numpy as np
import pytest
import torch

from limbeck.data.boxes.views import BOX_VIEWS, BoxFlip, BoxView, IoUCrop, Photometric, Rescale, Scene, ZoomOut
from limbeck.data.readers import seeded

HEIGHT, WIDTH = 47, 71
# red, green and blue rectangles, each with its class; they do not overlap
FRAMES = [(3.0, 5.0, 20.0, 30.0), (30.0, 2.0, 66.0, 12.0), (40.0, 20.0, 71.0, 47.0)]
CLASSES = [4, 1, 9]


def scene(frames=FRAMES):
    image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    for colour, (left, top, right, bottom) in enumerate(frames):
        image[colour, int(top) : int(bottom), int(left) : int(right)] = 255
    return Scene(image, torch.tensor(frames).reshape(-1, 4), torch.tensor(CLASSES[: len(frames)]), 30)


def frame_of(found):
    """Return the smallest box around all that is true."""
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    return [float(side) for side in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def seen(view, seed, **fields):
    with seeded(seed):
        return view(scene(**fields))


EXACT = [BoxFlip(), BoxFlip(1.0), ZoomOut(fill=(0.0, 0.0, 0.0)), ZoomOut(2.5, 1.0, (0.0, 0.0, 0.0)), IoUCrop()]


@pytest.mark.parametrize("view", EXACT, ids=lambda view: view.name)
def test_a_box_frames_what_it_framed(view):
    changed = 0
    for seed in range(60):
        after = seen(view, seed)
        changed += after.image.shape != (3, HEIGHT, WIDTH) or not torch.equal(after.image, scene().image)
        assert after.image.dtype == torch.uint8
        assert after.boxes.dtype == torch.float32
        assert len(after.boxes) == len(after.classes) > 0
        for box, label in zip(after.boxes.tolist(), after.classes.tolist(), strict=True):
            assert frame_of(after.image[CLASSES.index(label)].numpy() > 127) == box
    assert changed > 15


def test_a_mirrored_picture_is_that_of_a_loop():
    before, after = scene(), seen(BoxFlip(1.0), 0)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            assert after.image[:, row, column].tolist() == before.image[:, row, WIDTH - 1 - column].tolist()
    assert after.boxes.tolist() == [[WIDTH - right, top, WIDTH - left, bottom] for left, top, right, bottom in FRAMES]
    assert after.classes.tolist() == CLASSES


def test_half_the_pictures_are_mirrored():
    mirrored = sum(not torch.equal(seen(BoxFlip(), seed).image, scene().image) for seed in range(200))
    assert 70 < mirrored < 130
    assert torch.equal(seen(BoxFlip(0.0), 1).image, scene().image)


def test_colours_change_and_boxes_do_not():
    changed = 0
    for seed in range(30):
        after = seen(Photometric(), seed)
        assert torch.equal(after.boxes, scene().boxes)
        assert after.classes.tolist() == CLASSES
        apart = after.image.int().amax(0) - int(after.image[:, -1, 0].int().max())
        for left, top, right, bottom in after.boxes.int().tolist():
            assert (apart[top:bottom, left:right] > 30).all()
        changed += not torch.equal(after.image, scene().image)
    assert changed > 20
    assert torch.equal(seen(Photometric(0.0), 1).image, scene().image)


def test_a_crop_drops_the_boxes_whose_centre_it_cuts_off():
    kept = set()
    for seed in range(100):
        after = seen(IoUCrop(), seed)
        kept.add(tuple(after.classes.tolist()))
        height, width = after.image.shape[1:]
        assert width <= 2 * height or (height, width) == (HEIGHT, WIDTH)
        assert (after.boxes[:, 2:] > after.boxes[:, :2]).all()
        assert (after.boxes >= 0).all()
        assert (after.boxes <= torch.tensor([width, height, width, height])).all()
        for box, label in zip(after.boxes.tolist(), after.classes.tolist(), strict=True):
            left, top, right, bottom = FRAMES[CLASSES.index(label)]
            # at least the half up to the centre is there, in both directions
            assert box[2] - box[0] > (right - left) / 2 - 1e-3
            assert box[3] - box[1] > (bottom - top) / 2 - 1e-3
    assert len(kept) > 3
    assert tuple(CLASSES) in kept


def test_a_picture_without_boxes_is_not_cropped():
    for seed in range(20):
        after = seen(IoUCrop(), seed, frames=[])
        assert after.image.shape == (3, HEIGHT, WIDTH)
        assert after.boxes.shape == (0, 4)
    narrow = Scene(torch.zeros(3, 3, 50, dtype=torch.uint8), torch.tensor([[0.0, 0.0, 9.0, 3.0]]), torch.tensor([1]), 3)
    with seeded(0):
        assert all(IoUCrop()(narrow).image.shape == (3, 3, 50) for _ in range(20))


@pytest.mark.parametrize("view", [view() for view in BOX_VIEWS.values()], ids=lambda view: view.name)
def test_pictures_without_boxes_stay_without(view):
    assert isinstance(view, BoxView)
    for seed in range(5):
        after = seen(view, seed, frames=[])
        assert after.boxes.shape == (0, 4)
        assert after.classes.shape == (0,)


def test_what_is_around_a_smaller_picture_has_the_mean_colour():
    pictures = [seen(ZoomOut(4.0, 1.0), seed) for seed in range(8)]
    after = max(pictures, key=lambda one: one.image.shape[1])
    assert after.image.shape[1] > 2 * HEIGHT
    edges = [after.image[:, row, column].tolist() for row in (0, -1) for column in (0, -1)]
    assert [124, 116, 104] in edges
    assert abs(after.image.shape[2] / after.image.shape[1] - WIDTH / HEIGHT) < 0.02


def test_sizes_are_drawn_from_the_ones_given():
    sides = {seen(Rescale(sides=(20, 25, 40)), seed).shorter for seed in range(40)}
    assert sides == {20, 25, 40}
    with pytest.raises(ValueError, match="at least 1 item"):
        Rescale(sides=())


def test_the_same_seed_gives_the_same_view():
    for view in BOX_VIEWS.values():
        one, two = (seen(view(), 11) for _ in range(2))
        assert torch.equal(one.image, two.image)
        assert torch.equal(one.boxes, two.boxes)
        assert one.shorter == two.shorter
