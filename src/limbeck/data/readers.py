"""How one streamed image is read: from a file, or from a user's own data set."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from limbeck.data.resampling import RandomResizedCrop
from limbeck.errors import LimbeckError


@runtime_checkable
class MapDataset(Protocol):
    """Any map-style data set of (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@runtime_checkable
class Reader(Protocol):
    """Reads single images, uint8 or float [C, H, W], all of one shape; it travels to the workers.

    Attributes:
        slots: how many random numbers a random reading needs.
    """

    @property
    def slots(self) -> int: ...  # noqa: D102

    def opened(self, example: int) -> Tensor | None:
        """Return what all random readings of an image share, or None where each begins anew.

        Raises:
            LimbeckError: it can't be read.
        """
        ...

    def read(
        self, example: int, word: int, numbers: Float[Tensor, " slots"] | None, opened: Tensor | None = None
    ) -> Tensor:
        """Read an image.

        Args:
            example: its id.
            word: 64 random bits of its own.
            numbers: random numbers in [0, 1), or None for the reading without randomness.
            opened: what `opened` has returned, or None.

        Raises:
            LimbeckError: it can't be read.
        """
        ...


class FileReader:
    """Reads image files as RGB and makes them square: by a random crop, or by the centre after shrinking.

    Args:
        paths: a file for each id.
        size: side of the result in pixels.
        crop: the random crop; None reads the centre always.
    """

    def __init__(self, paths: Sequence[str], size: int, crop: RandomResizedCrop | None) -> None:
        self._paths, self._size, self._crop = paths, size, crop

    @property
    def slots(self) -> int:
        """How many random numbers a random reading needs."""
        return self._crop.slots if self._crop else 0

    def opened(self, example: int) -> UInt8[Tensor, "3 height width"]:
        """Return the decoded image."""
        return decode(self._paths[example])

    def read(
        self, example: int, word: int, numbers: Float[Tensor, " slots"] | None, opened: Tensor | None = None
    ) -> UInt8[Tensor, "3 size size"]:
        """Read an image, as 8-bit RGB, with antialias."""
        image = self.opened(example) if opened is None else opened
        if self._crop is None or numbers is None:
            # The share of the image that is customary for evaluation: 224 of 256.
            shrunk = vision.resize(image, [int(self._size / 0.875)], antialias=True)
            centre: Tensor = vision.center_crop(shrunk, [self._size, self._size])
            return centre
        box = [int(side) for side in self._crop.boxes(numbers[None], image.shape[1], image.shape[2])]
        cut: Tensor = vision.resized_crop(image, *box, size=[self._size, self._size], antialias=True)
        return cut


def decode(path: str) -> UInt8[Tensor, "3 height width"]:
    """Read an image file as 8-bit RGB.

    Raises:
        LimbeckError: it can't be read.
    """
    try:
        with Image.open(path) as image:
            pixels: Tensor = vision.pil_to_tensor(image.convert("RGB"))
            return pixels
    # Pillow's decoders raise SyntaxError and ValueError on broken files as well.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LimbeckError(f"{path}: not a readable image ({reason}): replace or remove it") from error


class DatasetReader:
    """Reads from a user's own data set; seeding each reading makes its random transforms replayable.

    Args:
        dataset: map-style, of (image, label).
        labels: the label that each example must have, int64 [N].

    Raises:
        LimbeckError: the first image isn't one.
    """

    slots = 0

    def __init__(self, dataset: MapDataset, labels: np.ndarray) -> None:
        self._dataset = dataset
        self._labels = labels
        self._expected: tuple[tuple[int, ...], torch.dtype] | None = None
        first = self.read(0, 0, None)
        self._expected = (tuple(first.shape), first.dtype)
        self.shape: tuple[int, int, int] = (first.shape[0], first.shape[1], first.shape[2])
        self.floating = first.is_floating_point()

    def opened(self, example: int) -> None:
        """Return nothing: the data set reads and changes an image in one."""

    def read(
        self, example: int, word: int, numbers: Float[Tensor, " slots"] | None, opened: Tensor | None = None
    ) -> Shaped[Tensor, "channels height width"]:
        """Read an image; the data set's own transforms always run, `in_order` as well, seeded by `word`."""
        with seeded(word):
            image, label = pair(self._dataset, example)
        if int(label) != self._labels[example]:
            raise LimbeckError(
                f"example {example} of the data set has label {label}, but its .targets say "
                f"{self._labels[example]}: make them agree"
            )
        pixels = _tensor(image, example)
        found = (tuple(pixels.shape), pixels.dtype)
        if self._expected is not None and found != self._expected:
            raise LimbeckError(
                f"example {example} of the data set is {_words(*found)}, but example 0 is "
                f"{_words(*self._expected)}: make all images alike"
            )
        return pixels


@contextmanager
def seeded(word: int) -> Iterator[None]:
    """Seed the generators of torch (CPU), numpy and Python for a while, and put them back afterwards."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.default_generator.manual_seed(word)
    np.random.seed(word & 0xFFFFFFFF)  # noqa: NPY002
    random.seed(word)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def pair(dataset: MapDataset, example: int) -> tuple[Any, Any]:
    """Return image and label.

    Raises:
        LimbeckError: the data set gives something else.
    """
    item = dataset[example]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise LimbeckError(f"example {example} of the data set isn't a pair (image, label): return both from it")
    return item[0], item[1]


def _tensor(image: Any, example: int) -> Shaped[Tensor, "channels height width"]:
    if isinstance(image, Image.Image):
        pixels: Any = vision.pil_to_tensor(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    else:
        pixels = image
    if not isinstance(pixels, Tensor) or pixels.ndim != 3:
        raise LimbeckError(
            f"the image of example {example} of the data set is neither a tensor [C, H, W] nor a PIL image: "
            "add ToTensor() or the like to its transforms"
        )
    if pixels.is_floating_point():
        return pixels.to(torch.float32)
    if pixels.dtype != torch.uint8:
        raise LimbeckError(
            f"the image of example {example} of the data set is {pixels.dtype}: convert it to uint8 or float"
        )
    return pixels


def _words(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
