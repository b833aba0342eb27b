"""The published data sets themselves: counts, pixels and the constants of normalisation."""

import hashlib

import numpy as np
import torch

from limbeck.data.load import Data
from limbeck.data.sources.cifar import CIFAR100
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.sources.mnist import FashionMNIST
from limbeck.data.sources.tiny_imagenet import TinyImageNet


def moments(examples):
    """Mean and standard deviation of the normalised images, by channel."""
    total, squares, count = 0, 0, 0
    for batch in examples.in_order(200):
        image = batch.views[0]
        total, squares = total + image.sum(dim=(0, 2, 3)), squares + image.square().sum(dim=(0, 2, 3))
        count += image[:, 0].numel()
    mean = total / count
    return mean, (squares / count - mean**2).sqrt()


def test_fashion_mnist(unpacked):
    splits = Data(FashionMNIST(unpacked("fashion-mnist")), validation=0).load("cpu")
    assert (splits.train.count, splits.test.count, splits.train.shape) == (60_000, 10_000, (1, 28, 28))
    assert np.bincount(splits.train.labels).tolist() == [6000] * 10
    assert splits.train.classes[:2] == ("T-shirt/top", "Trouser")
    mean, std = moments(splits.train)
    assert mean.abs().max() < 2e-3
    assert (std - 1).abs().max() < 2e-3


def test_cifar100(unpacked):
    splits = Data(CIFAR100(unpacked("cifar-100")), validation=0).load("cpu")
    assert (splits.train.count, splits.train.id_space, splits.test.count) == (50_000, 50_000, 10_000)
    assert np.bincount(splits.train.labels).tolist() == [500] * 100
    assert splits.train.classes[:2] == ("apple", "aquarium_fish")
    mean, std = moments(splits.train)
    assert mean.abs().max() < 1e-4
    assert (std - 1).abs().max() < 1e-4
    mean, std = (torch.tensor(given)[:, None, None] for given in (splits.train.mean, splits.train.std))
    digest = hashlib.sha256()
    for batch in splits.train.in_order(200):
        digest.update((batch.views[0] * std).add_(mean).mul_(255).round_().byte().numpy().data)
    assert digest.hexdigest() == "de64658905c6b161606e3649ddafce7cf86c7634a0cf9116d518e64ef46a33c5"


def test_tiny_imagenet_20(unpacked):
    root = unpacked("tiny-imagenet-20") / "tiny-imagenet-20"
    splits = Data(TinyImageNet(root), validation=0).load("cpu")
    assert (splits.train.count, splits.test.count, splits.train.shape) == (10_000, 1_000, (3, 64, 64))
    assert np.bincount(splits.test.labels).tolist() == [50] * 20
    # The constants are those of all 200 classes; 20 of them come near.
    mean, std = moments(splits.test)
    assert mean.abs().max() < 0.15
    assert (std - 1).abs().max() < 0.1


def test_real_photographs_are_streamed(unpacked):
    root = unpacked("tiny-imagenet-20") / "tiny-imagenet-20"
    splits = Data(ImageFolder(root, size=48), validation=0, examples=200, workers=2).load("cpu")
    seen = [batch for step in splits.train.epoch(0, batch_size=64, seed=0) for batch in step.parts]
    assert sorted(torch.cat([batch.ids for batch in seen]).tolist()) == splits.train.ids.tolist()
    assert seen[0].views[0].shape == (50, 3, 48, 48)
    assert all(batch.views[0].isfinite().all() for batch in seen)
