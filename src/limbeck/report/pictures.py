"""Arrays of numbers as pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

# two of the colours of the drawings, which colour-blind readers tell apart as well
FOR, AGAINST = "#D55E00", "#0072B2"


def png(pixels: UInt8[np.ndarray, "height width channels"]) -> str:
    """Return a picture of one channel or three, as PNG in a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def jpeg(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Return a photograph, of which nobody reads single pixels, as JPEG in a data URI: a tenth of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def photograph(
    view: Float[np.ndarray, "channels height width"], mean: Sequence[float], std: Sequence[float]
) -> UInt8[np.ndarray, "height width channels"]:
    """Return an image as it was before it was normalised by mean and standard deviation."""
    pixels = view * np.array(std)[:, None, None] + np.array(mean)[:, None, None]
    return np.asarray(np.rint(255 * pixels.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0))


def heat(values: Float[np.ndarray, "height width"], largest: float) -> UInt8[np.ndarray, "height width 3"]:
    """Return numbers as colours: white for 0, orange up to `largest`, blue down to its negative."""
    share = (values / largest if largest > 0 else np.zeros_like(values)).clip(-1, 1)[:, :, None]
    ends = np.where(share > 0, _rgb(FOR), _rgb(AGAINST))
    return np.asarray(np.rint(255 + np.abs(share) * (ends - 255.0)).astype(np.uint8))


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
