"""Which layers are compared where nothing is named."""

import pytest

from limbeck.core.layers import probe
from limbeck.errors import LimbeckError
from limbeck.matching import AttentionTransfer, FactorTransfer, FitNet
from limbeck.models import ModelSpec
from limbeck.teachers.relation import outline


@pytest.mark.parametrize("kind", [AttentionTransfer, FactorTransfer, FitNet])
def test_the_patches_of_a_transformer_are_not_taken_for_a_stage(kind):
    seeing, patches = (
        probe(outline(ModelSpec(name)), (3, 224, 224)) for name in ("torchvision:resnet18", "torchvision:vit_b_16")
    )
    for student, teacher in ((patches, patches), (seeing, patches), (patches, seeing)):
        with pytest.raises(LimbeckError, match=r"layers \(none that fits\).* do not pair: name as many of both"):
            kind().choose(student, teacher)
    named = {"layers": ("conv_proj",)} if kind is AttentionTransfer else {"layer": "conv_proj"}
    assert [pair.teacher.path for pair in kind(**named).choose(patches, patches)] == ["conv_proj"]
