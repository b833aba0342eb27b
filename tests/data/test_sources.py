import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

from limbeck.data.examples import Members
from limbeck.data.load import SOURCES
from limbeck.data.raw import Setting, Source
from limbeck.data.sources.cifar import CIFAR10, CIFAR100
from limbeck.data.sources.digits import Digits
from limbeck.data.sources.image_folder import ImageFolder
from limbeck.data.sources.mnist import MNIST, FashionMNIST
from limbeck.data.sources.tiny_imagenet import TinyImageNet
from limbeck.data.views import View
from limbeck.errors import LimbeckError

PLAIN = Setting((0.0,), (1.0,), (), None, 0, "cpu")


def pixels_of(raw, classes):
    """All images of a split, in the order of their ids, uint8."""
    members = Members(np.arange(len(raw.labels)), raw.labels, len(raw.labels), classes)
    return torch.cat([batch.views[0] for batch in raw.examples(members, PLAIN).in_order(100)]).mul(255).round().byte()


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_read_from_json(name):
    fields = '{"root": "here"}' if "root" in SOURCES[name].__annotations__ else "{}"
    source = TypeAdapter(SOURCES[name]).validate_json(fields, strict=True)
    assert isinstance(source, Source)
    assert all(isinstance(view, View) for view in source.standard_views)


def test_digits():
    raw = Digits().load()
    assert (len(raw.train.labels), len(raw.test.labels)) == (1000, 797)
    assert np.bincount(raw.train.labels).min() > 95
    pixels = pixels_of(raw.train, raw.classes)
    assert pixels.shape == (1000, 1, 8, 8)
    assert pixels.max() == 255
    scaled = pixels.double() / 255
    assert scaled.mean().item() == pytest.approx(raw.mean[0], abs=1e-4)
    assert scaled.std().item() == pytest.approx(raw.std[0], abs=1e-4)
    again = Digits().load()
    assert np.array_equal(raw.test.labels, again.test.labels)


def records(labels, count, classes):
    generator = np.random.default_rng(labels)
    found = generator.integers(0, 256, (count, labels + 3072), dtype=np.uint8)
    found[:, labels - 1] = np.arange(count) % classes
    found[:, : labels - 1] = 7
    return found


@pytest.fixture
def cifar(tmp_path):
    ten, hundred = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-100-binary"
    ten.mkdir()
    hundred.mkdir()
    for number in range(1, 6):
        records(1, 20, 10).tofile(ten / f"data_batch_{number}.bin")
    records(1, 10, 10).tofile(ten / "test_batch.bin")
    records(2, 200, 100).tofile(hundred / "train.bin")
    records(2, 100, 100).tofile(hundred / "test.bin")
    return tmp_path


def test_cifar_binaries(cifar):
    (cifar / "cifar-10-batches-bin" / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    raw = CIFAR10(cifar).load()
    assert raw.classes == tuple("abcdefghij")
    assert raw.train.labels.tolist() == list(range(10)) * 10
    expected = torch.from_numpy(records(1, 20, 10)[:, 1:].reshape(20, 3, 32, 32))
    assert torch.equal(pixels_of(raw.train, raw.classes)[40:60], expected)
    raw = CIFAR100(cifar).load()
    assert raw.classes[:3] == ("0", "1", "2")
    assert raw.train.labels.tolist() == list(range(100)) * 2
    expected = torch.from_numpy(records(2, 100, 100)[:, 2:].reshape(100, 3, 32, 32))
    assert torch.equal(pixels_of(raw.test, raw.classes), expected)


def test_broken_cifar_binaries(cifar):
    file = cifar / "cifar-100-binary" / "train.bin"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(
        LimbeckError, match=r"train\.bin: 614,795 bytes is not a whole number of records of 3,074 bytes"
    ):
        CIFAR100(cifar).load()
    file.write_bytes(b"")
    with pytest.raises(LimbeckError, match=r"train\.bin: 0 bytes"):
        CIFAR100(cifar).load()
    file.unlink()
    with pytest.raises(LimbeckError, match=r"train\.bin: no such file"):
        CIFAR100(cifar).load()
    (cifar / "cifar-10-batches-bin" / "batches.meta.txt").write_text("one two")
    with pytest.raises(LimbeckError, match=r"batches\.meta\.txt: 2 class names instead of 10"):
        CIFAR10(cifar).load()


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_missing_or_altered_cifar(source, tmp_path):
    with pytest.raises(LimbeckError, match=r"cifar-\w+-\w+(-py)? is missing, and so is .*bin.*: unpack") as caught:
        source(tmp_path).load()
    assert "\n" not in str(caught.value)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(LimbeckError, match="doesn't hold the official files") as caught:
        source(tmp_path).load()
    assert "\n" not in str(caught.value)


def idx(array):
    header = [0, 0, 8, array.ndim, *(byte for side in array.shape for byte in side.to_bytes(4, "big"))]
    return bytes(header) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for part, count in (("train", 30), ("t10k", 20)):
            images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return tmp_path


@pytest.mark.parametrize("source", [MNIST, FashionMNIST])
def test_mnist_files(mnist, source):
    raw = source(str(mnist)).load()
    assert raw.train.labels.tolist() == list(range(10)) * 3
    file = mnist / source.__name__ / "raw" / "t10k-images-idx3-ubyte"
    expected = torch.from_numpy(np.frombuffer(file.read_bytes()[16:], np.uint8).copy().reshape(20, 1, 28, 28))
    assert torch.equal(pixels_of(raw.test, raw.classes), expected)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        LimbeckError, match=rf"{source.__name__}/raw: can't read {source.__name__}, its files are broken"
    ):
        source(str(mnist)).load()


def test_missing_mnist(tmp_path):
    with pytest.raises(
        LimbeckError, match="MNIST/raw: can't read MNIST, there is nothing there: put its four"
    ) as caught:
        MNIST(tmp_path).load()
    assert "\n" not in str(caught.value)


def test_tiny_imagenet_in_folders(image_tree):
    root = image_tree(("n02", "n01"), 4, ("train", "val"), ".JPEG", (64, 64))
    raw = TinyImageNet(root).load()
    assert raw.classes == ("n01", "n02")
    assert raw.train.labels.tolist() == raw.test.labels.tolist() == [0] * 4 + [1] * 4
    pixels = pixels_of(raw.train, raw.classes)
    image = Image.open(root / "train" / "n02" / "3.JPEG").convert("RGB")
    assert torch.equal(pixels[7], torch.from_numpy(np.array(image)).permute(2, 0, 1))
    assert torch.equal(pixels[0, 0], pixels[0, 1])


def test_tiny_imagenet_as_published(image_tree):
    root = image_tree(("n02", "n01"), 2, ("train",), ".JPEG", (64, 64))
    for wnid in ("n01", "n02"):
        inner = root / "train" / wnid / "images"
        inner.mkdir()
        for image in (root / "train" / wnid).glob("*.JPEG"):
            image.rename(inner / image.name)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("0.JPEG\t0\t0\t1\t1\n")
    places = root / "val" / "images"
    places.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((64, 64, 3), index * 50, np.uint8)).save(places / f"val_{index}.JPEG")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\nval_2.JPEG\tn02\t0\t0\t1\t1\n")
    raw = TinyImageNet(root).load()
    assert raw.train.labels.tolist() == [0, 0, 1, 1]
    assert raw.test.labels.tolist() == [0, 1, 1]
    assert pixels_of(raw.test, raw.classes)[:, 0, 5, 5].tolist() == [50, 0, 100]
    annotations.write_text("val_0.JPEG\tn03\t0\t0\t1\t1\n")
    with pytest.raises(LimbeckError, match=r"val_annotations\.txt: line 1 has class 'n03', which train has not"):
        TinyImageNet(root).load()
    annotations.write_text("val_0.JPEG n03\n")
    with pytest.raises(LimbeckError, match=r"val_annotations\.txt: line 1 has no file and class"):
        TinyImageNet(root).load()


def test_tiny_imagenet_of_another_size(image_tree):
    root = image_tree(("n02", "n01"), 1, ("train", "val"), ".JPEG", (64, 65))
    with pytest.raises(LimbeckError, match=r"n01/0\.JPEG has 65x64 pixels instead of 64x64"):
        TinyImageNet(root).load()


@pytest.mark.parametrize("source", [ImageFolder, TinyImageNet])
def test_broken_folders(source, image_tree, tmp_path):
    def message():
        with pytest.raises(LimbeckError) as caught:
            source(tmp_path).load()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    train = tmp_path / "train"
    assert message().startswith(f"{train}: no such folder")
    train.mkdir()
    assert message().startswith(f"{train} is empty")
    (train / "cat").mkdir()
    assert message().startswith(f"{train} has only one class, 'cat'")
    (train / "dog").mkdir()
    (train / "cat" / "notes.txt").write_text("meow")
    assert message().startswith(f"{train / 'cat'} has no images")


def test_folders_must_agree(image_tree):
    root = image_tree(splits=("train",))
    with pytest.raises(LimbeckError, match="neither a folder test nor val"):
        ImageFolder(root).load()
    image_tree(("cat", "eel"), splits=("val",))
    message = f"class 'dog' is in {root / 'train'} but not in {root / 'val'}"
    with pytest.raises(LimbeckError, match=message):
        ImageFolder(root).load()


def test_a_folder_test_is_preferred_to_val(image_tree):
    root = image_tree(splits=("train", "val"), count=2)
    image_tree(splits=("test",), count=3)
    assert len(ImageFolder(root).load().test.labels) == 6


def test_a_corrupt_image_is_named(image_tree):
    root = image_tree(("n01", "n02"), 2, ("train", "val"), ".JPEG", (64, 64))
    (root / "val" / "n02" / "1.JPEG").write_bytes(b"not an image")
    with pytest.raises(LimbeckError, match=r"val/n02/1\.JPEG: not a readable image") as caught:
        TinyImageNet(root).load()
    assert "\n" not in str(caught.value)
