"""The translating network: what it may see, and what it may not."""

import pytest
import torch

from limbeck.core.batch import Sentences
from limbeck.errors import LimbeckError
from limbeck.models import ModelSpec, build_model, parameters, task_of

SPEC = ModelSpec("transformer", {"width": 16, "heads": 2, "layers": 2, "inner": 24, "dropout": 0.0, "positions": 12})


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model(SPEC, 30, 1).double().eval()


def view(source, target):
    places = torch.tensor(target).flatten().nonzero()[:, 0]
    return Sentences(torch.tensor(source), torch.tensor(target), places)


def test_padding_changes_nothing_and_has_no_logits(network):
    alone = network(view([[5, 6, 2]], [[1, 7, 8]]))
    together = network(view([[5, 6, 2, 0, 0], [9, 9, 9, 9, 2]], [[1, 7, 8, 0], [1, 4, 4, 4]]))
    assert alone.shape == (3, 30)
    assert together.shape == (7, 30)
    torch.testing.assert_close(together[:3], alone)


def test_a_token_sees_those_before_it_alone(network):
    one, other = (network(view([[5, 6, 2]], [[1, 7, 8, last]])) for last in (9, 10))
    torch.testing.assert_close(one[:3], other[:3])
    assert not torch.allclose(one[3], other[3])


def test_a_token_sees_the_whole_source(network):
    one, other = (network(view([[5, 6, last]], [[1]])) for last in (2, 3))
    assert not torch.allclose(one, other)


def test_one_embedding_serves_source_target_and_output(network):
    assert [weight.shape for weight in network.parameters() if weight.shape[0] == 30] == [(30, 16)]
    assert task_of(SPEC) == "translation"
    assert parameters(network) == sum(weight.numel() for weight in network.parameters())


def test_a_longer_sentence_than_the_model_reads_is_one_line(network):
    with pytest.raises(LimbeckError, match="a sentence of 13 tokens is longer than the model, which reads 12"):
        network(view([[5] * 13], [[1]]))


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(LimbeckError, match="a width of 10 cannot be cut into 4 heads"):
        build_model(ModelSpec("transformer", {"width": 10}), 30, 1)
