"""Data that are missing, broken, too few, or not what the network knows."""

import shutil

import pytest


def test_a_missing_and_an_empty_folder_are_named(refused, recipe, tmp_path):
    assert "nowhere/train: no such folder" in refused("train", recipe("nowhere"))
    (tmp_path / "hollow" / "train").mkdir(parents=True)
    assert "hollow/train is empty" in refused("train", recipe("hollow"))
    assert not (tmp_path / "runs").exists()


def test_folders_that_do_not_make_classes_are_named(refused, recipe, images):
    images("lone", "cat")
    assert "lone/train has only one class, 'cat'" in refused("train", recipe("lone"))
    images("untested", "cat", "dog", parts=("train",))
    assert "untested has neither a folder test nor val" in refused("train", recipe("untested"))
    (images("gap", "cat", "dog") / "train" / "eel").mkdir()
    assert "gap/train/eel has no images" in refused("train", recipe("gap"))
    shutil.rmtree(images("odd", "cat", "dog", "eel") / "test" / "eel")
    assert "class 'eel' is in odd/train but not in odd/test" in refused("train", recipe("odd"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", [lambda data: b"no image", lambda data: data[:60], lambda data: b""])
def test_a_corrupt_image_is_named(refused, recipe, images, damage, workers):
    image = images("pets", "cat", "dog") / "train" / "dog" / "3.png"
    image.write_bytes(damage(image.read_bytes()))
    said = refused("train", recipe("pets"), f"data.workers={workers}", after=1)
    assert said.startswith("pets/train/dog/3.png: not a readable image")
    assert "replace or remove it" in said


def test_an_image_data_set_trains_and_is_tested_on_another(done, refused, recipe, images, tmp_path):
    images("pets", "cat", "dog")
    done("train", recipe("pets"))
    images("more", "cat", "dog", count=3)
    assert "Top-1 error %" in done("evaluate", "runs/pets", "data.source.root=more").out
    assert not (tmp_path / "runs/pets/report.html").exists()
    images("three", "cat", "dog", "eel")
    said = refused("evaluate", "runs/pets", "data.source.root=three")
    assert said == "the network in runs/pets/student.safetensors knows 2 classes, the data have 3"
    images("others", "cat", "fox")
    said = refused("evaluate", "runs/pets", "data.source.root=others")
    assert said.endswith("knows other classes than the data: 'dog' where they have 'fox'")
    assert "knows 2 classes, the data have 10" in refused("evaluate", "runs/pets", "data.source=digits")
    assert "unknown key 'sorce' in data" in refused("evaluate", "runs/pets", "data.sorce=digits")
    assert "only data.… can be changed" in refused("evaluate", "runs/pets", "training.epochs=3")


def cifar(folder, train, test):
    place = folder / "cifar" / "cifar-100-binary"
    place.mkdir(parents=True, exist_ok=True)
    (place / "train.bin").write_bytes(train)
    (place / "test.bin").write_bytes(test)


def test_a_truncated_cifar_file_and_a_label_out_of_range_are_named(refused, tmp_path):
    row = bytes([1, 7]) + bytes(3072)
    (tmp_path / "c.yaml").write_text("data: {source: {name: cifar100, root: cifar}}\nmodel: resnet8\n")
    assert "cifar/cifar-100-python is missing, and so is cifar/cifar-100-binary" in refused("train", "c.yaml")
    cifar(tmp_path, row * 3 + b"xx", row)
    assert "cifar/cifar-100-binary/train.bin: 9,224 bytes is not a whole number" in refused("train", "c.yaml")
    cifar(tmp_path, row * 3, row + bytes([1, 200]) + bytes(3072))
    assert "the label of example 1 is 200, outside 0..99" in refused("train", "c.yaml")


@pytest.mark.parametrize(("source", "expected"), [("mnist", "can't read MNIST"), ("tiny_imagenet", "no such folder")])
def test_data_sets_that_are_not_there_say_where_they_belong(refused, source, expected):
    assert expected in refused("train", "digits/baseline", f"data.source={{name: {source}, root: nowhere}}")


def test_a_batch_larger_than_the_data_is_refused(refused):
    said = refused("train", "digits/baseline", "training.batch_size=301", after=1)
    assert said == "batch_size 301 is larger than the 300 training examples: set it to 300 or less"
