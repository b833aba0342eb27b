"""Small data sets, and a folder of the real ones."""

import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data.examples import Members
from limbeck.data.resident import ResidentExamples


@pytest.fixture
def resident():
    """Return a function that makes resident examples of noise; ids are 3, 6, 9, ..."""

    def make(count=50, shape=(3, 8, 10), classes=5, views=(), mix=None, seed=0):
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        members = Members(
            np.arange(1, count + 1) * 3, np.arange(count) % classes, 3 * count + 1, tuple("abcde"[:classes])
        )
        mean, std = (0.4, 0.5, 0.6)[: shape[0]], (0.2, 0.3, 0.25)[: shape[0]]
        examples = ResidentExamples(pixels, members, mean=mean, std=std, views=views, mix=mix)
        return examples, pixels

    return make


class Noisy:
    """A user's data set whose transform draws from all three global generators."""

    classes = ("a", "b", "c")

    def __init__(self, count=23, shape=(3, 4, 5), targets=True):
        self.count, self.shape = count, shape
        self.read = []
        if targets:
            self.targets = [index % 3 for index in range(count)]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        image = torch.full(self.shape, float(index))
        image[0, 0, :3] = torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])  # noqa: NPY002
        return image, index % 3


@pytest.fixture
def noisy():
    return Noisy


@pytest.fixture
def image_tree(tmp_path):
    """Return a function that writes train/ and test/ folders of images of many sizes and modes."""

    def make(classes=("cat", "dog"), count=5, splits=("train", "test"), suffix=".png", size=None):
        generator = np.random.default_rng(0)
        for split in splits:
            for name in classes:
                folder = tmp_path / split / name
                folder.mkdir(parents=True)
                for index in range(count):
                    height, width = size or (int(side) for side in generator.integers(12, 40, 2))
                    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    image = Image.fromarray(pixels)
                    image.convert("L" if index == 0 else "RGB").save(folder / f"{index}{suffix}")
        return tmp_path

    return make


@pytest.fixture(scope="session")
def unpacked(shared_data, tmp_path_factory):
    """Return a function that unpacks a real data set, once, and says where it is."""
    folder = tmp_path_factory.mktemp("real")

    def unpack(name):
        command = [sys.executable, str(shared_data / "unpack.py"), str(folder), name]
        subprocess.run(command, check=True, capture_output=True)
        return folder

    yield unpack
    shutil.rmtree(folder)


@pytest.fixture
def same():
    """Return a function that checks that two batches are equal to the bit."""

    def check(one, two):
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.labels, two.labels)
        assert len(one.views) == len(two.views)
        assert all(torch.equal(first, second) for first, second in zip(one.views, two.views, strict=True))
        assert (one.mix is None) == (two.mix is None)
        if one.mix is not None:
            assert all(torch.equal(first, second) for first, second in zip(one.mix, two.mix, strict=True))

    return check


@pytest.fixture
def by_id():
    """Return a function that files what batches say about each example under its id."""

    def file(batches):
        found = {}
        for batch in batches:
            for row, example in enumerate(batch.ids.tolist()):
                assert example not in found
                mix = None if batch.mix is None else tuple(column[row].item() for column in batch.mix)
                found[example] = ([view[row] for view in batch.views], int(batch.labels[row]), mix)
        return found

    return file
