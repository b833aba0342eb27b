"""FitNets' distance and the regressor that fits one map to another."""

import pytest
import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.matching import Regressor, hint_distance


def test_both_forms_are_what_plain_loops_say(drawn):
    student, teacher = drawn(3, 2, 2, 2), drawn(3, 2, 2, 2, seed=1)
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    total = sum((a - b) ** 2 for a, b in pairs)
    assert float(hint_distance(student, teacher)) == pytest.approx(total / 24, rel=1e-12)
    assert float(hint_distance(student, teacher, "half")) == pytest.approx(total / 2 / 3, rel=1e-12)


def test_half_precision_does_not_overflow():
    features = torch.full((2, 4, 8, 8), 3e4, dtype=torch.float16)
    assert float(hint_distance(features, -features)) == pytest.approx(float(features[0, 0, 0, 0]) ** 2 * 4)


def test_other_shapes_are_refused_not_broadcast(drawn):
    with pytest.raises(LimbeckError, match="put a connector between them"):
        hint_distance(drawn(2, 3, 4, 4), drawn(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("student", "teacher", "kernel"),
    [
        ((16, 8, 8), (32, 8, 8), (1, 1)),
        ((16, 8, 8), (32, 4, 4), (3, 3)),
        ((16, 4, 4), (32, 8, 8), (4, 4)),
        ((16, 8, 7), (32, 6, 7), (3, 1)),
        ((16, 9, 9), (32, 5, 5), (5, 5)),
    ],
)
def test_a_regressor_brings_one_shape_to_the_other(drawn, student, teacher, kernel):
    regressor = Regressor(student, teacher)
    found = regressor(drawn(2, *student).float())
    assert found.shape == (2, *teacher)
    assert found.min() >= 0
    assert regressor.layers[0].kernel_size == kernel
    assert isinstance(regressor.layers[0], nn.ConvTranspose2d) == (teacher[1] == 2 * student[1])


@pytest.mark.parametrize("teacher", [(32, 9, 9), (32, 32, 32), (32, 8, 16)])
def test_a_shape_out_of_reach_is_refused(teacher):
    with pytest.raises(LimbeckError, match=r"no regressor leads from maps of 8x8 to \d+x\d+: take a layer"):
        Regressor((16, 8, 8), teacher)
