"""Numbers as pictures: what a reader sees is what the numbers are."""

import base64
import io

import numpy as np
from PIL import Image

from limbeck.report.pictures import heat, photograph, png


def test_heat_is_white_at_zero_and_symmetric_about_it():
    pixels = heat(np.array([[0.0, 2.0, -2.0], [1.0, -1.0, 9.0]]), 2.0)
    assert pixels[0].tolist() == [[255, 255, 255], [0xD5, 0x5E, 0x00], [0x00, 0x72, 0xB2]]
    half = [np.rint((255 + end) / 2) for end in (0xD5, 0x5E, 0x00)]
    assert np.abs(pixels[1, 0] - np.array(half)).max() <= 1
    assert pixels[1, 2].tolist() == pixels[0, 1].tolist()
    assert heat(np.zeros((2, 2)), 0.0).min() == 255


def test_a_picture_is_the_image_before_it_was_normalised():
    raw = np.array([[[0, 51], [102, 255]]] * 3, dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    view = (raw / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    pixels = photograph(view, mean, std)
    assert np.array_equal(pixels, raw.transpose(1, 2, 0))
    for shown, mode in ((pixels, "RGB"), (pixels[:, :, :1], "L")):
        data = base64.b64decode(png(shown).removeprefix("data:image/png;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == mode
            assert np.array_equal(np.asarray(image).reshape(shown.shape), shown)
