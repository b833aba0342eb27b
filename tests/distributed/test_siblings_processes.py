"""CS-KD in two processes equals CS-KD in one: siblings are drawn by example id."""

import torch
from safetensors.torch import load_file

RECIPE = ["train", "digits/cskd", "model.norm=none", "training.epochs=2", "training.batch_size=49", "data.mix=mixup"]


def test_two_processes_equal_one(one_and_two):
    place = one_and_two({"run": RECIPE})
    one, two = (load_file(place / processes / "run/student.safetensors") for processes in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-5)
