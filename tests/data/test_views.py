import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy import stats
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from limbeck.data import draws
from limbeck.data.colour import ColourJitter
from limbeck.data.load import VIEWS
from limbeck.data.pipeline import Pipeline
from limbeck.data.resampling import RandomResizedCrop, Rotation
from limbeck.data.views import Cutout, Flip, PadCrop, View
from limbeck.errors import LimbeckError

ALL = [PadCrop(2), Flip(), RandomResizedCrop(6), Rotation(20), ColourJitter(0.4, 0.4, 0.4), Cutout(3)]


def noise(count=64, channels=3, height=7, width=9, eight_bit=True):
    pixels = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(1))
    return pixels.to(torch.uint8) if eight_bit else pixels.to(torch.float32) / 255


def numbers(view, count=64):
    return draws.uniform(0, 0, 0, torch.arange(count), view.slots)


def name(view):
    return view.name


def test_pad_crop_cuts_from_the_padded_image():
    images, view = noise(), PadCrop(3)
    given = numbers(view)
    for image, (u, v), found in zip(images, given.tolist(), view(images, given), strict=True):
        padded = np.zeros((3, 7 + 6, 9 + 6), dtype=np.uint8)
        padded[:, 3:-3, 3:-3] = image
        top, left = math.floor(u * 7), math.floor(v * 7)
        assert np.array_equal(found, padded[:, top : top + 7, left : left + 9])


def test_all_places_of_pad_crop_are_equally_likely():
    places = torch.zeros(1, 1, 5, 5)
    places[0, 0, 2, 2] = 1
    view = PadCrop(2)
    sums = view(places.expand(5000, 1, 5, 5), numbers(view, 5000)).sum(dim=(0, 1))
    assert stats.chisquare(sums.ravel()).pvalue > 1e-4


def test_flip_mirrors_a_share_of_the_images():
    images, view = noise(), Flip(0.3)
    given = numbers(view)
    for image, (u,), found in zip(images, given.tolist(), view(images, given), strict=True):
        assert np.array_equal(found, image.numpy()[:, :, ::-1] if u < 0.3 else image)
    assert torch.equal(Flip(0.0)(images, given), images)
    assert torch.equal(Flip(1.0)(images, given), images.flip(-1))


@pytest.mark.parametrize("length", [1, 4, 5, 20])
def test_cutout_clips_its_square(length):
    images, view = noise(eight_bit=False) + 1, Cutout(length, 0.7)
    given = numbers(view)
    for image, (u, v, w), found in zip(images, given.tolist(), view(images, given), strict=True):
        expected = image.numpy().copy()
        if w < 0.7:
            y, x = math.floor(u * 7), math.floor(v * 9)
            for row in range(y - length // 2, y - length // 2 + length):
                for column in range(x - length // 2, x - length // 2 + length):
                    if 0 <= row < 7 and 0 <= column < 9:
                        expected[:, row, column] = 0
        assert np.array_equal(found, expected)


def box(given, height, width, scale, ratio):
    """torchvision's choice of a box, one image at a time."""
    area = height * width
    for attempt in range(10):
        target = np.float32(area) * (np.float32(scale[0]) + np.float32(given[attempt] * (scale[1] - scale[0])))
        shape = math.exp(math.log(ratio[0]) + given[10 + attempt] * (math.log(ratio[1]) - math.log(ratio[0])))
        w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            return math.floor(given[20] * (height - h + 1)), math.floor(given[21] * (width - w + 1)), h, w
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (37, 20, (0.5, 1.0), (3 / 4, 4 / 3)),
        (10, 60, (0.9, 1.0), (3 / 4, 4 / 3)),
        (60, 10, (0.9, 1.0), (3 / 4, 4 / 3)),
        (20, 20, (1.0, 1.0), (2.0, 3.0)),
    ],
)
def test_boxes_are_chosen_as_torchvision_does(height, width, scale, ratio):
    view = RandomResizedCrop(8, scale, ratio)
    given = numbers(view, 300)
    found = torch.stack(view.boxes(given, height, width), dim=1).tolist()
    assert found == [list(box(row, height, width, scale, ratio)) for row in given.tolist()]


@pytest.mark.parametrize("size", [5, 16])
def test_random_resized_crop_reads_as_torchvision_does(size):
    images, view = noise(height=11, width=13, eight_bit=False), RandomResizedCrop(size)
    given = numbers(view)
    boxes = torch.stack(view.boxes(given, 11, 13), dim=1).tolist()
    for image, (top, left, height, width), found in zip(images, boxes, view(images, given), strict=True):
        expected = vision.resized_crop(image, top, left, height, width, [size, size], antialias=False)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_rotation_turns_as_torchvision_does():
    images, view = noise(eight_bit=False), Rotation(45.0)
    given = numbers(view)
    for image, (u,), found in zip(images, given.tolist(), view(images, given), strict=True):
        expected = vision.rotate(image, (2 * u - 1) * 45.0, InterpolationMode.BILINEAR)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_colour_jitter_is_torchvisions_in_a_fixed_order(channels, strength):
    images, view = noise(channels=channels, eight_bit=False), ColourJitter(strength, strength, strength)
    given = numbers(view)
    lowest = max(0.0, 1 - strength)
    for image, row, found in zip(images, given.tolist(), view(images, given), strict=True):
        factors = [lowest + u * (1 + strength - lowest) for u in row]
        expected = vision.adjust_contrast(vision.adjust_brightness(image, factors[0]), factors[1])
        if channels == 3:
            expected = vision.adjust_saturation(expected, factors[2])
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_colour_jitter_of_nothing_is_nothing():
    images = noise(eight_bit=False)
    assert ColourJitter()(images, numbers(ColourJitter())) is images


def test_colour_jitter_needs_colours_it_knows():
    images = noise(channels=4, eight_bit=False)
    with pytest.raises(LimbeckError, match="grey or RGB images, not 4 channels"):
        ColourJitter(saturation=0.1)(images, numbers(ColourJitter()))


@pytest.mark.parametrize("view", ALL, ids=name)
def test_a_view_is_a_function_of_the_image_and_its_numbers(view):
    images, given = noise(height=6, width=6, eight_bit=False), numbers(view)
    original = images.clone()
    whole = view(images, given)
    assert whole.shape == (64, 3, 6, 6)
    assert torch.equal(images, original)
    torch.testing.assert_close(view(images[5:8], given[5:8]), whole[5:8], atol=1e-6, rtol=0)
    assert isinstance(view, View)


@pytest.mark.parametrize("view", [view for view in ALL if view.exact], ids=name)
def test_moving_pixels_is_exact_on_eight_bits(view):
    images, given = noise(), numbers(view)
    assert torch.equal(view(images, given).to(torch.float32), view(images.to(torch.float32), given))


def test_pipeline_puts_normalisation_in_its_place():
    views = (Cutout(4), PadCrop(2), Flip(), ColourJitter(0.5))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    pipeline = Pipeline(views, mean, std, torch.device("cpu"))
    images, ids = noise(), torch.arange(64)
    given = pipeline.draws(1, 2, 0, ids)
    assert torch.equal(given, draws.uniform(1, 2, 0, ids, 9))
    expected = Flip()(PadCrop(2)(images.to(torch.float32) / 255, given[:, :2]), given[:, 2:3])
    expected = ColourJitter(0.5)(expected, given[:, 3:6])
    expected = (expected - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(pipeline(images, given), Cutout(4)(expected, given[:, 6:]))


def test_pipeline_leaves_float_images_as_they_are():
    pipeline = Pipeline((), (0.0,) * 3, (1.0,) * 3, torch.device("cpu"))
    images = torch.randn(4, 3, 5, 5)
    assert torch.equal(pipeline.plain(images), images)


@pytest.mark.parametrize("view", ALL, ids=name)
def test_views_are_read_from_json(view):
    adapter = TypeAdapter(VIEWS[view.name])
    assert adapter.validate_json(adapter.dump_json(view), strict=True) == view


@pytest.mark.parametrize(
    "build",
    [
        lambda: PadCrop(0),
        lambda: Flip(1.5),
        lambda: Cutout(length=True),
        lambda: ColourJitter(brightness=-0.1),
        lambda: Rotation(0.0),
        lambda: Rotation(181.0),
        lambda: RandomResizedCrop(8, (0.5, 0.1)),
        lambda: RandomResizedCrop(8, (0.5, 1.1)),
        lambda: RandomResizedCrop(8, ratio=(0.0, 1.0)),
        lambda: RandomResizedCrop(0),
        lambda: PadCrop(pading=4),
    ],
)
def test_impossible_settings(build):
    with pytest.raises(ValidationError):
        build()


def test_a_mirrored_border_is_what_torch_pads():
    images = torch.arange(2 * 3 * 5 * 6).view(2, 3, 5, 6).to(torch.uint8)
    draws = torch.tensor([[0.0, 0.99], [0.5, 0.0]])
    padded = torch.nn.functional.pad(images.float(), (3, 3, 3, 3), mode="reflect").to(torch.uint8)
    found = PadCrop(padding=3, fill="reflect")(images, draws)
    assert torch.equal(found[0], padded[0, :, 0:5, 6:12])
    assert torch.equal(found[1], padded[1, :, 3:8, 0:6])
    with pytest.raises(LimbeckError, match="cannot mirror 5 pixels of an image with sides of 5"):
        PadCrop(padding=5, fill="reflect")(images, draws)
