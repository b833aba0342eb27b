"""What is left of a coder's stage that is stopped."""

import pytest
import torch
from torch import nn

import limbeck


class Stopped(nn.Module):
    """A teacher that is interrupted in the middle of the stage in which its coder learns."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.head = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        # twice for its layers, once to see that it reads the images
        if self.calls == 6:
            raise KeyboardInterrupt
        return self.head(self.features(images).mean((2, 3)))


def test_a_teacher_whose_coder_is_interrupted_has_no_hook_left(tmp_path):
    torch.manual_seed(0)
    data = [(torch.rand(1, 8, 8), i % 3) for i in range(24)]
    student = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    teacher = Stopped()
    matcher = {"name": "ft", "layer": "1", "teacher_layer": "features"}
    options = {
        "epochs": 1,
        "validation": 0,
        "batch_size": 4,
        "folder": tmp_path / "run",
        "accelerator": "cpu",
        "progress": False,
    }
    with pytest.raises(KeyboardInterrupt):
        limbeck.distil(student, data, data, method="cross_entropy", teacher=teacher, matchers=[matcher], **options)
    assert any((tmp_path / "stages").iterdir())
    # the one of the comparison is the run's to take off
    assert len(teacher.features._forward_hooks) <= 1
